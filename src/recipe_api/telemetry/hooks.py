"""The hooks through which telemetry observes components. The class in this module observes none of them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from structlog.typing import Processor

from recipe_api.database.observation import Begin, Connections
from recipe_api.database.recipe_writer import RecipeWriter
from recipe_api.database.row_pool import RowPool
from recipe_api.storage.protocol import ObjectStore
from recipe_api.storage.s3 import S3Store
from recipe_api.telemetry.observer import Observer
from recipe_api.uploads.findings import FindingKind

Arguments = ParamSpec("Arguments")
Part = TypeVar("Part")


class Telemetry:
    """Provides the plain components to `composition.py` and `resources.py`. A subclass provides observed ones."""

    observer: Observer | None = None
    """Observes requests; None if telemetry is off."""
    exports_traces = False
    exports_metrics = False
    checked_out: Callable[[float], None] | None = None
    """Called with the seconds that each checkout from the engine's pool took; None to measure none."""
    log_processors: Sequence[Processor] = ()
    """Additional processors of log lines."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export from this process until the block ends."""
        yield

    def observed(self, part: Callable[Arguments, Part]) -> Callable[Arguments, Part]:
        """Return a factory of a component: the given class, or one that makes an observed subclass."""
        return part

    def recipe_writer(self, pool: RowPool) -> RecipeWriter:
        """Return the writer that inserts uploaded rows through a pool."""
        return RecipeWriter(pool)

    def database(self, observe: Callable[[Begin], None], connections: Callable[[], Connections]) -> None:
        """Observe the statements and the connections of the engine.

        Args:
            observe: Registers a function to be called before each statement.
            connections: Returns the state of the pool.
        """

    def sweep_ended(self, findings: Mapping[FindingKind, int]) -> None:
        """Report the findings of a sweep."""

    def store(self, store: S3Store) -> ObjectStore:
        """Return the store, or a wrapper that observes it."""
        return store
