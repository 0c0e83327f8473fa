"""Checks that a database has the schema that this release needs, and that it is writable."""

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import SQLModel, select

from recipe_api.database.models import (
    ClientUsage,
    IdempotencyKey,
    Lease,
    PendingDeletion,
    Recipe,
    Rendering,
    StagedUpload,
)
from recipe_api.database.session import FORBIDDEN, READ_ONLY, session
from recipe_api.errors import DatabaseUnavailable

REVISION = "0011"
"""The newest migration in `alembic/versions`. Revisions are numbers of four digits, so they sort as text."""

_TABLES: tuple[type[SQLModel], ...] = (
    Recipe,
    IdempotencyKey,
    PendingDeletion,
    Rendering,
    StagedUpload,
    ClientUsage,
    Lease,
)
"""The service reads all of them and inserts, updates and deletes rows in each."""

# A privilege may be granted on columns instead of the table, except for DELETE.
_MISSING_PRIVILEGES = text(
    f"""
    SELECT privilege || ' on ' || relation
    FROM unnest(ARRAY[{", ".join(f"'{table.__tablename__}'" for table in _TABLES)}]) AS relation,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE NOT CASE privilege
        WHEN 'DELETE' THEN has_table_privilege(relation, privilege)
        ELSE has_any_column_privilege(relation, privilege)
    END
    """  # noqa: S608 - the names are our own
)

_log = structlog.get_logger(__name__)


class Schema:
    """The tables of one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def check(self) -> None:
        """Check that the tables exist, have the migrations that this release needs, and are writable.

        A newer schema passes as long as it has the columns of this release: migrations run while the previous release
        is still serving, and keep it working. Nothing is written.

        Raises:
            DatabaseUnavailable: The database is unreachable, was never migrated, lacks the latest migrations or
                columns, is read-only, or its user lacks a privilege.
        """
        async with session(self._engine) as opened:
            connection = await opened.connection()
            found = await revision_of(connection)
            if found is None or found < REVISION:
                raise DatabaseUnavailable(outdated(found))
            if await is_read_only(connection):
                raise _forbidden(READ_ONLY)
            if missing := await missing_privileges(connection):
                raise _forbidden(f"The user in DATABASE_URL lacks privileges; grant {', '.join(missing)}.")
            await read_columns(connection)
        if found > REVISION:
            _log.info("the database is newer than this release", database_revision=found, release_revision=REVISION)


async def revision_of(connection: AsyncConnection) -> str | None:
    """Return the newest migration that a database has; None if it has none."""
    found: str | None = await connection.scalar(text("SELECT max(version_num) FROM alembic_version"))
    return found


def outdated(revision: str | None) -> str:
    """Return what is wrong with a database at a revision before this release's."""
    return (
        f"The database is at migration {revision or 'none'} and this release needs {REVISION};"
        " run `alembic upgrade head`."
    )


async def is_read_only(connection: AsyncConnection) -> bool:
    """Return whether a database accepts no writes."""
    return bool(await connection.scalar(text("SELECT current_setting('transaction_read_only') = 'on'")))


async def missing_privileges(connection: AsyncConnection) -> list[str]:
    """Return the privileges that the service needs and its user lacks, such as `INSERT on recipe`, sorted."""
    return sorted((await connection.scalars(_MISSING_PRIVILEGES)).all())


async def read_columns(connection: AsyncConnection) -> None:
    """Read no rows, but all columns. The driver raises an error if one is missing."""
    for table in _TABLES:
        await connection.execute(select(table).limit(0))


def _forbidden(reason: str) -> DatabaseUnavailable:
    _log.warning("the database rejects some statements of the service", remedy=reason)
    return DatabaseUnavailable(FORBIDDEN, reason=reason)
