"""Lets an observer follow the engine's statements and checkouts, and read the state of its connection pool."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection, QueuePool

End = Callable[[BaseException | None], None]
Begin = Callable[[str, str | None], End]
"""Called before a statement, with its operation and table. Returns a function to call when it has ended or failed."""

_TABLE = re.compile(r'\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+"?([a-z_]+)\b(?!\()')  # a function is no table
_END = "recipe_api.end_of_statement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The connections of a pool."""

    used: int
    idle: int
    limit: int


def observe_statements(engine: AsyncEngine, begin: Begin) -> None:
    """Call `begin` before each statement of an engine. A connection runs one statement at a time."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def before(connection: Connection, _: object, statement: str, *__: object) -> None:
        connection.info[_END] = begin(*operation_of(statement))

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def after(connection: Connection, *_: object) -> None:
        connection.info.pop(_END)(None)

    @event.listens_for(engine.sync_engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        end: Any = context.connection and context.connection.info.pop(_END, None)
        if end:
            end(context.original_exception)


def connections_of(engine: AsyncEngine) -> Connections:
    """Return the state of an engine's pool."""
    pool = cast("QueuePool", engine.pool)  # wrapped for asyncio, with the same methods
    return Connections(used=pool.checkedout(), idle=pool.checkedin(), limit=pool.size())


def timed_pool(checked_out: Callable[[float], None]) -> type[AsyncAdaptedQueuePool]:
    """Return a pool class that reports how many seconds each checkout took, even if it failed."""

    class TimedPool(AsyncAdaptedQueuePool):
        __module__ = AsyncAdaptedQueuePool.__module__  # SQLAlchemy names the pool's logger after it

        def connect(self) -> PoolProxiedConnection:
            began = time.perf_counter()
            try:
                return super().connect()
            finally:
                checked_out(time.perf_counter() - began)

    return TimedPool


@lru_cache(maxsize=256)  # the service has fewer statements: values are passed separately
def operation_of(statement: str) -> tuple[str, str | None]:
    """Return the operation of one of our statements, and its first table."""
    found = _TABLE.search(statement)
    if found is None:
        return "SELECT", None
    operation = found[1].partition(" ")[0]
    return "SELECT" if operation == "FROM" else operation, found[2]
