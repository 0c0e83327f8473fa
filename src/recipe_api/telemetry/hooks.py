"""The places where the service can be observed. This class observes nothing, and so costs nothing."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from structlog.typing import Processor

from recipe_api.storage.protocol import ObjectStore
from recipe_api.telemetry.observer import Observer

Arguments = ParamSpec("Arguments")
Part = TypeVar("Part")


class Telemetry:
    """What `app.py` and `resources.py` compose the service with. A subclass returns parts that are observed."""

    observer: Observer | None = None
    """Observes requests; None if telemetry is off."""
    exports_traces = False
    log_processors: Sequence[Processor] = ()
    """What each log line also passes through."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export from this process until the block ends."""
        yield

    def observed(self, part: Callable[Arguments, Part]) -> Callable[Arguments, Part]:
        """Return what makes a part of the service: the given class, or a subclass that is observed."""
        return part

    def store(self, store: ObjectStore) -> ObjectStore:
        """Return the store, or one that passes all calls on to it and is observed."""
        return store
