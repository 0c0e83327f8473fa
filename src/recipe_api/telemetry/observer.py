"""What the observed parts of the service record into and report to."""

from collections.abc import Callable, Iterable, Iterator

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import Tracer

from recipe_api.telemetry.aggregates import Description, Value
from recipe_api.telemetry.metrics import Metrics

Reading = tuple[float, tuple[Value, ...]]
"""A number, and the values of its attributes."""


class Observer:
    """The metrics and the tracer of a process. Exporting them is up to `exporter`."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        """Recorded even if only traces are exported, because that costs less than to distinguish."""
        self.meter: Meter | None = None
        """None if metrics are not exported."""
        self.tracer: Tracer | None = None
        """None if traces are not exported."""

    def observe(self, description: Description, read: Callable[[], Iterable[Reading]]) -> None:
        """Have the numbers of a metric read whenever metrics are exported, which another thread does."""
        if self.meter is None:
            return

        def callback(_: CallbackOptions) -> Iterator[Observation]:
            for number, values in read():
                yield Observation(number, description.named(values))

        create = {
            "counter": self.meter.create_observable_counter,
            "gauge": self.meter.create_observable_gauge,
            "up-down counter": self.meter.create_observable_up_down_counter,
        }[description.kind]
        create(description.name, [callback], description.unit, description.text)
