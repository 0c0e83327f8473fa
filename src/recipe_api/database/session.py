"""Sessions on PostgreSQL, and the one place where the driver's failures become ours.

No connection is held while bytes stream: a session is opened for the statement that is due, and closed after it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from recipe_api.errors import CommitInDoubt, DatabaseUnavailable
from recipe_api.settings import DatabaseSettings

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
POOL_SECONDS = 5
"""How long a request waits for a free connection before it is told to come again."""

# The driver's own errors come from connecting; SQLAlchemy wraps only those of statements.
# What it calls an internal error is a connection that was cut in the middle of something.
_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    PoolTimeoutError,
    DBAPIError,
)

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_engine(settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """The pool of connections for all but the rows of uploads; it closes with the block.

    Nothing connects before it is used.
    """
    engine = create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size - record_connections(settings),
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": STATEMENT_SECONDS},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


def record_connections(settings: DatabaseSettings) -> int:
    """How many of a process's connections are for the rows of uploads: one for those with a key, one for the others.

    Rows are written in groups, so that more would not write more. Of two connections in all, one.
    """
    return min(2, settings.database_pool_size - 1)


def driver_options(settings: DatabaseSettings) -> dict[str, Any]:
    """What asyncpg is told to connect as the engine does."""
    url = make_url(settings.database_url.get_secret_value())
    options = dict(url.get_dialect()().create_connect_args(url)[1])
    cached = options.pop("prepared_statement_cache_size", None)  # SQLAlchemy's word, for a PgBouncer on the way
    return options | {"timeout": CONNECT_SECONDS} | ({} if cached is None else {"statement_cache_size": cached})


@asynccontextmanager
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session for a few statements; whoever writes commits.

    Raises:
        DatabaseUnavailable: PostgreSQL is away, no connection became free in time, or nobody has migrated it.
    """
    with translated():
        async with AsyncSession(engine, expire_on_commit=False) as opened:
            yield opened


@contextmanager
def translated() -> Iterator[None]:
    """Around what speaks to the database.

    Raises:
        DatabaseUnavailable: It is away, no connection became free in time, or nobody has migrated it.
    """
    try:
        yield
    except _FAILURES as error:
        state = _state(error)
        if state in _LACKS_TABLES:
            raise DatabaseUnavailable(_logged(error, "The database lacks its tables; run its migrations.")) from error
        if state and not state.startswith(_AWAY) and not getattr(error, "connection_invalidated", False):
            raise
        raise DatabaseUnavailable(_logged(error)) from error


@contextmanager
def in_doubt() -> Iterator[None]:
    """Around a commit: a failure in it may come after it has worked.

    Raises:
        CommitInDoubt: The commit's answer was lost.
    """
    try:
        yield
    except _FAILURES as error:
        raise CommitInDoubt(_logged(error)) from error


@contextmanager
def committing() -> Iterator[None]:
    """Around a statement that commits by itself: in doubt where its answer was lost, not where the server refused it.

    Raises:
        CommitInDoubt: The connection failed, or the server ended it.
        DatabaseUnavailable: The server does not take it now.
    """
    with translated():
        try:
            yield
        except _FAILURES as error:
            state = _state(error)
            if state and not state.startswith(_CUT_SHORT):
                raise
            raise CommitInDoubt(_logged(error)) from error


_LACKS_TABLES = {"42P01", "42703", "42501"}
"""No such table, no such column, or neither for this user."""
_CUT_SHORT = ("08", "57")
"""Connection exceptions; told to stop, or shutting down."""
_AWAY = (*_CUT_SHORT, "28", "3D", "40", "53", "55P03", "25006")
"""Not let in, as while credentials are rotated; a deadlock; insufficient resources, such as too many connections; a
lock that was not to be had; a standby, which takes no writes."""


def _state(error: Exception) -> str | None:
    """The server's code for what went wrong (PostgreSQL's appendix A); None where it did not get to say any."""
    state: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state


def _logged(error: Exception, detail: str = "The database does not answer now; try again in a moment.") -> str:
    _log.warning("database failed", error=type(error).__name__, detail=str(error).partition("\n")[0])
    return detail
