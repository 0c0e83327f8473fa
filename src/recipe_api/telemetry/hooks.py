"""The places where the service can be observed. This class observes nothing, and so costs nothing."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from opentelemetry.trace import Tracer
from structlog.typing import Processor

from recipe_api.telemetry.metrics import Metrics


class Telemetry:
    """What `app.py` and `resources.py` compose the service with. A subclass returns parts that are observed."""

    metrics: Metrics | None = None
    """What to record into; None if metrics are off."""
    tracer: Tracer | None = None
    """Makes spans; None until `running` has begun, and always if traces are off."""
    exports_traces = False
    log_processors: Sequence[Processor] = ()
    """What each log line also passes through."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export from this process until the block ends."""
        yield
