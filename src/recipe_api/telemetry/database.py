"""Statements and connections of the database, by OpenTelemetry's semantic conventions for database clients.

Uploaded rows are inserted in groups, by tasks that belong to no request (`database.group_commit`). So a duration is
that of the statement of a whole group. The span of a request also covers the time that its row waits for the statement
in progress.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

from opentelemetry.trace import Span

from recipe_api.database.client_usage import Charge
from recipe_api.database.models import RecipeRow
from recipe_api.database.observation import Connections, End
from recipe_api.database.recipe_writer import Finishing, RecipeWriter
from recipe_api.database.row_pool import RowConnection, RowPool
from recipe_api.telemetry import metrics
from recipe_api.telemetry.observer import Observer, Reading
from recipe_api.telemetry.spans import child_span, end_span, error_type

SYSTEM = "postgresql"
ROWS, OTHERS = "rows", "others"
"""The pools of a process: for uploaded rows, and for everything else."""
_INSERT = "INSERT", "recipe"


class Statements:
    """Records statements, and creates a span for each one of a traced request."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._duration = observer.metrics.statement_duration

    def begin(self, operation: str, table: str | None) -> End:
        """Begin a statement of a request; return the function that ends it."""
        return partial(self._end, time.perf_counter(), (operation, table), self.span(operation, table))

    def span(self, operation: str, table: str | None) -> Span | None:
        """Start the span of a statement, if its request is traced."""
        return child_span(self._observer.tracer, *_span_of(operation, table))

    def record(self, began: float, operation: str, table: str | None, failure: str | None) -> None:
        """Record a statement that began at this time, by `time.perf_counter()`, and ends now."""
        if self._observer.exports_metrics:
            self._duration.record(time.perf_counter() - began, SYSTEM, operation, table, failure)

    def _end(
        self, began: float, statement: tuple[str, str | None], span: Span | None, error: BaseException | None
    ) -> None:
        failure = error_type(error)
        self.record(began, *statement, failure)
        end_span(span, error=failure)


@cache
def _span_of(operation: str, table: str | None) -> tuple[str, Mapping[str, str | int]]:
    """Return the name and the attributes of a statement's span."""
    attributes = metrics.STATEMENT_DURATION.named((SYSTEM, operation, table, None))
    return f"{operation} {table}" if table else operation, attributes


class ObservedRecipeWriter(RecipeWriter):
    """Reports how many rows wait and how many were sent, and creates a span for each row of a traced request."""

    def __init__(self, observer: Observer, pool: RowPool) -> None:
        super().__init__(ObservedRowPool(pool, observer) if observer.exports_metrics else pool)
        self._statements = Statements(observer)
        observer.observe(metrics.ROWS, lambda: [(self.rows_sent, ())])
        observer.observe(metrics.ROWS_PENDING, lambda: [(self.rows_waiting, ())])

    async def add(
        self,
        recipe: RecipeRow,
        finished: Finishing | None = None,
        charge: Charge | None = None,
        *,
        until: float | None = None,
    ) -> None:
        if (span := self._statements.span(*_INSERT)) is None:
            return await super().add(recipe, finished, charge, until=until)
        failure: str | None = None
        try:
            return await super().add(recipe, finished, charge, until=until)
        except BaseException as error:
            failure = error_type(error)
            raise
        finally:
            end_span(span, error=failure)


class ObservedRowPool:
    """A pool for uploaded rows that records waits for a connection, and statements."""

    def __init__(self, pool: RowPool, observer: Observer) -> None:
        self._pool = pool
        self._statements = Statements(observer)
        self._waited = waits_for(ROWS, observer)
        self._used = 0
        observer.observe(metrics.CONNECTIONS, lambda: _readings(ROWS, self._used, pool.size - self._used))

    async def acquire(self, *, timeout: float) -> RowConnection:  # noqa: ASYNC109 - passed on
        began = time.perf_counter()
        try:
            acquired = await self._pool.acquire(timeout=timeout)
        finally:
            self._waited(time.perf_counter() - began)
        self._used += 1
        return _ObservedConnection(acquired, self._statements)

    def release(self, connection: "_ObservedConnection", *, is_usable: bool) -> None:
        self._used -= 1
        self._pool.release(connection.inner, is_usable=is_usable)

    def discard_idle(self) -> None:
        self._pool.discard_idle()

    def terminate(self) -> None:
        self._pool.terminate()

    @property
    def size(self) -> int:
        return self._pool.size


class _ObservedConnection:
    """A connection that records its statements, all of which insert uploaded rows."""

    __slots__ = ("_statements", "inner")

    def __init__(self, inner: RowConnection, statements: Statements) -> None:
        self.inner = inner
        self._statements = statements

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - asyncpg's rows and signature
        # Without a span: a group belongs to no single request, although its task has the context of one.
        failure: str | None = None
        began = time.perf_counter()
        try:
            return await self.inner.fetch(query, *args, timeout=timeout)
        except BaseException as error:
            failure = error_type(error)
            raise
        finally:
            self._statements.record(began, *_INSERT, failure)


def waits_for(pool: str, observer: Observer) -> Callable[[float], None]:
    """Return a function that records how many seconds it took to get a connection from a pool, or to fail."""
    wait_time = observer.metrics.connection_wait_time
    return lambda seconds: wait_time.record(seconds, pool)


def observe_connections(observer: Observer, read: Callable[[], Connections]) -> None:
    """Report the connections for everything except uploaded rows."""

    def current() -> Iterator[Reading]:
        found = read()
        yield from _readings(OTHERS, found.used, found.idle)

    observer.observe(metrics.CONNECTIONS, current)
    observer.observe(metrics.CONNECTIONS_MAX, lambda: [(read().limit, (OTHERS,))])


def _readings(pool: str, used: int, idle: int) -> Iterator[Reading]:
    yield used, (pool, "used")
    yield idle, (pool, "idle")
