"""Sessions on PostgreSQL, and the one place where the driver's failures become ours.

No connection is held while bytes stream: a session is opened for the statement that is due, and closed after it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import structlog
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
_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, PoolTimeoutError, DBAPIError)

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_engine(settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """The pool of connections; it closes with the block. Nothing connects before it is used."""
    engine = create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,  # after a failover, the photo that is already in S3 must not meet a dead connection
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": STATEMENT_SECONDS},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session for a few statements; whoever writes commits.

    Raises:
        DatabaseUnavailable: PostgreSQL is away, no connection became free in time, or nobody has migrated it.
    """
    try:
        async with AsyncSession(engine, expire_on_commit=False) as opened:
            yield opened
    except _FAILURES as error:
        if _lacks_tables(error):
            raise DatabaseUnavailable(_logged(error, "The database lacks its tables; run its migrations.")) from error
        if isinstance(error, DBAPIError) and not (error.connection_invalidated or _is_away(error)):
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


def _lacks_tables(error: Exception) -> bool:
    # No such table, no such column, or neither for this user.
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in {"42P01", "42703", "42501"}


def _is_away(error: DBAPIError) -> bool:
    # Class 08: connection exceptions; 28 and 3D: not let in, as while credentials are rotated; 53: insufficient
    # resources, such as too many connections; 57: told to stop, or shutting down; 25006: a standby, which takes no
    # writes; 40 and 55P03: a deadlock, a lock that was not to be had.
    code = getattr(error.orig, "sqlstate", None) or ""
    return not code or code.startswith(("08", "28", "3D", "40", "53", "55P03", "57", "25006"))


def _logged(error: Exception, detail: str = "The database does not answer now; try again in a moment.") -> str:
    _log.warning("database failed", error=type(error).__name__, detail=str(error).partition("\n")[0])
    return detail
