"""Database sessions, and the translation of the driver's errors into those of `errors`.

No connection is held while a photo is received: a session is opened for a few statements, and then closed.
"""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlmodel.ext.asyncio.session import AsyncSession

from recipe_api.database.connection import CONNECT_SECONDS, DRIVER_FAILURES, Connector, engine_on
from recipe_api.database.liveness import check_connections
from recipe_api.database.observation import timed_pool
from recipe_api.database_url import parse
from recipe_api.error_translation import ErrorTranslation
from recipe_api.errors import CommitInDoubt, DatabaseUnavailable
from recipe_api.settings import DatabaseSettings

STATEMENT_SECONDS = 10
POOL_SECONDS = 5
"""How long a request waits for a free connection before it is rejected with 503."""

# SQLAlchemy wraps the driver's errors in statements, but not those while connecting.
FAILURES = (*DRIVER_FAILURES, PoolTimeoutError, DBAPIError)

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_engine(
    settings: DatabaseSettings, *, checked_out: Callable[[float], None] | None = None
) -> AsyncIterator[AsyncEngine]:
    """Open the connection pool for everything except uploaded rows. It is closed with the block.

    The connections are opened on first use.

    Args:
        settings: The address of the database, and the size of the pool.
        checked_out: Called with the seconds that each checkout of a connection took; None to measure none.
    """
    engine = engine_on(
        connector(settings, command_seconds=STATEMENT_SECONDS),
        poolclass=AsyncAdaptedQueuePool if checked_out is None else timed_pool(checked_out),
        pool_size=settings.database_pool_size - writer_connections(settings),
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
    )
    check_connections(engine)
    try:
        yield engine
    finally:
        await engine.dispose()


def writer_connections(settings: DatabaseSettings) -> int:
    """Return how many of a process's connections are reserved for uploaded rows.

    There are two, one for rows with an idempotency key and one for the others; rows are written in groups, so more
    connections would not be faster. If the process may have only two connections, one is reserved. If it may have only
    one, everything shares it (`SharedPool`).
    """
    return min(2, settings.database_pool_size - 1)


def connector(settings: DatabaseSettings, *, command_seconds: float | None = None) -> Connector:
    """Return a connector for the database in the settings, with the timeout of a request."""
    url = parse(settings.database_url.get_secret_value())
    return Connector(url, seconds=CONNECT_SECONDS, command_seconds=command_seconds)


@asynccontextmanager
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """Yield a session for a few statements; code that writes must commit.

    Raises:
        DatabaseUnavailable: PostgreSQL is unavailable, no connection became free in time, or migrations are missing.
    """
    with translate_errors():
        async with AsyncSession(engine, expire_on_commit=False) as opened:
            yield opened


def translate_errors() -> ErrorTranslation:
    """Translate the driver's errors inside the block.

    Raises:
        DatabaseUnavailable: PostgreSQL is unavailable, no connection became free in time, or migrations are missing.
    """
    return _ERRORS


def translate_commit_errors() -> ErrorTranslation:
    """Translate errors of a commit, which may have succeeded nevertheless.

    Raises:
        CommitInDoubt: The response to the commit was lost.
    """
    return _COMMIT_ERRORS


def translate_autocommit_errors() -> ErrorTranslation:
    """Translate errors of a statement that commits by itself.

    Raises:
        CommitInDoubt: The connection broke, or the server closed it, so the statement may have been committed.
        DatabaseUnavailable: The server rejected the statement, and may accept it later.
    """
    return _AUTOCOMMIT_ERRORS


_SCHEMA_MISMATCH = {"42P01", "42703", "42804", "42883", "42809", "42P10", "23502"}
"""A table, column or operator is missing; a column or table has another type; a unique constraint is missing; a column
is required that this release does not know."""
_MIGRATE = (
    "The tables are not those of this release;"
    " run `alembic upgrade head`, or deploy the release that has migrated them since."
)
READ_ONLY = (
    "The database is read-only: a standby, out of space or over its plan's limit, or its user or database has"
    " default_transaction_read_only. Make it writable, or point DATABASE_URL at the primary."
)
_NOT_PERMITTED = {
    "42501": "The user in DATABASE_URL lacks a privilege; grant SELECT, INSERT, UPDATE and DELETE on all tables.",
    "25006": READ_ONLY,
}
_REMEDIES = {
    "28P01": ". Check the user and the password in DATABASE_URL; @ : / ? # % & in them must be percent-encoded.",
    "3D000": ". Create it, or correct its name in DATABASE_URL.",
    "53300": ". The processes open up to DATABASE_POOL_SIZE connections each, more than the server or the role allows;"
    " lower it (1 is enough) or raise the limit.",
}
_UNREACHABLE = ". Check the host and the port in DATABASE_URL, and whether PostgreSQL is running there."
FORBIDDEN = "The database does not permit this."
_INTERRUPTED = ("08", "57")
"""Connection exceptions; operator intervention, such as a shutdown."""
_UNAVAILABLE = (*_INTERRUPTED, "28", "3D", "40", "53", "55P03")
"""Also: login rejected, as while credentials are rotated; deadlock; insufficient resources, such as too many
connections; lock not available."""


def _unavailable(error: Exception) -> Exception:
    """Return the error for a failure; the failure itself if it is the statement's own fault."""
    state = _state(error)
    if state in _SCHEMA_MISMATCH:
        detail = _log_failure(error, "The tables of the database do not fit this release; run its migrations.")
        return DatabaseUnavailable(detail, reason=f"{_MIGRATE} ({_cause(error)})")
    if state in _NOT_PERMITTED:
        detail = _log_failure(error, FORBIDDEN)
        return DatabaseUnavailable(detail, reason=f"{_NOT_PERMITTED[state]} ({_cause(error)})")
    if state and not state.startswith(_UNAVAILABLE) and not getattr(error, "connection_invalidated", False):
        return error
    reason = f"Cannot use the database in DATABASE_URL: {_cause(error)}{_remedy(error, state)}"
    return DatabaseUnavailable(_log_failure(error), reason=reason)


def _in_doubt(error: Exception) -> Exception:
    return CommitInDoubt(_log_failure(error))


def _in_doubt_unless_rejected(error: Exception) -> Exception:
    state = _state(error)
    return _unavailable(error) if state and not state.startswith(_INTERRUPTED) else _in_doubt(error)


_ERRORS = ErrorTranslation(FAILURES, _unavailable)
_COMMIT_ERRORS = ErrorTranslation(FAILURES, _in_doubt)
_AUTOCOMMIT_ERRORS = ErrorTranslation(FAILURES, _in_doubt_unless_rejected)


def _state(error: Exception) -> str | None:
    """Return the server's SQLSTATE (PostgreSQL's appendix A), or None if the error did not come from the server."""
    state: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state


def _cause(error: Exception) -> str:
    """Return the first line of the server's or the driver's message, without the name of SQLAlchemy's wrapper."""
    if isinstance(error, TimeoutError):
        return str(error) or "no response in time"
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return (cause.partition("\n")[0] or type(error).__name__).rpartition(">: ")[2]


def _remedy(error: Exception, state: str | None) -> str:
    """Return what to do about an error, to be appended to its cause; empty if nothing is known."""
    if isinstance(error, ConnectionRefusedError | socket.gaierror | TimeoutError):
        return _UNREACHABLE
    return _REMEDIES.get(state or "", "")


def _log_failure(error: Exception, detail: str = "The database does not respond. Try again in a moment.") -> str:
    _log.warning("database failed", error=type(error).__name__, detail=str(error).partition("\n")[0])
    return detail
