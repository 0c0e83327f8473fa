"""The places where the service can be observed. This class observes nothing, and so costs nothing."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from structlog.typing import Processor

from recipe_api.database.observation import Begin, Connections
from recipe_api.database.recipe_writer import RecipeWriter
from recipe_api.database.shared_pool import RowPool
from recipe_api.storage.protocol import ObjectStore
from recipe_api.storage.s3 import S3Store
from recipe_api.telemetry.observer import Observer
from recipe_api.uploads.findings import FindingKind

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

    def recipe_writer(self, pool: RowPool) -> RecipeWriter:
        """Return what inserts uploaded rows through a pool."""
        return RecipeWriter(pool)

    def database(self, observe: Callable[[Begin], None], connections: Callable[[], Connections]) -> None:
        """Observe the statements and the connections of the engine.

        Args:
            observe: Has a function called before each statement.
            connections: Returns the state of the pool.
        """

    def sweep_ended(self, findings: Mapping[FindingKind, int]) -> None:
        """Report what a sweep has found."""

    def store(self, store: S3Store) -> ObjectStore:
        """Return the store, or one that passes all calls on to it and is observed."""
        return store
