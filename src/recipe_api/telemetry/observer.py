"""The interface between the observed components and the exporter."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import Tracer

from recipe_api.telemetry.aggregates import Description, Value
from recipe_api.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from recipe_api.telemetry.sampling import EarlySampling  # its packages are optional

Reading = tuple[float, tuple[Value, ...]]
"""The value of a metric, and the values of its attributes."""


class Observer:
    """The metrics and the tracer of a process; `exporter` exports them.

    Args:
        exports_metrics: Whether metrics are exported. If not, no request records any.
    """

    def __init__(self, *, exports_metrics: bool = True) -> None:
        self.exports_metrics = exports_metrics
        self.metrics = Metrics()
        self.meter: Meter | None = None
        """None if metrics are not exported, or not yet."""
        self.tracer: Tracer | None = None
        """None if traces are not exported, or not yet."""
        self.sampling: EarlySampling | None = None
        """Decides which requests the tracer traces."""
        self._reads: dict[Description, list[Callable[[], Iterable[Reading]]]] = {}

    def observe(self, description: Description, read: Callable[[], Iterable[Reading]]) -> None:
        """Register a function that reads a metric on each export, in the exporter's thread.

        Several components may contribute to a metric, with different attributes.
        """
        if self.meter is None:
            return
        reads = self._reads.setdefault(description, [])
        reads.append(read)
        if len(reads) == 1:
            self._create(self.meter, description)

    def _create(self, meter: Meter, description: Description) -> None:
        def callback(_: CallbackOptions) -> Iterator[Observation]:
            for read in self._reads[description]:
                for number, values in read():
                    yield Observation(number, description.named(values))

        create = {
            "counter": meter.create_observable_counter,
            "gauge": meter.create_observable_gauge,
            "up-down counter": meter.create_observable_up_down_counter,
        }[description.kind]
        create(description.name, [callback], description.unit, description.text)
