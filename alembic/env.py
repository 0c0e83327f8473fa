"""Runs migrations on the database in DATABASE_URL, through asyncpg like the service itself.

Python callers may pass the address as `config.attributes["database_url"]` instead. A missing or wrong address, or a
database that cannot be reached, is a `CommandError`, which the `alembic` command prints as one line.
"""

import asyncio
import os
import sys
from typing import Any, cast

from alembic import context
from alembic.runtime.migration import MigrationInfo
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from recipe_api.database.connection import migration_engine
from recipe_api.database.models import Recipe
from recipe_api.database.session import translate_errors
from recipe_api.errors import DatabaseUnavailable
from recipe_api.observability import configure_logging
from recipe_api.settings import DatabaseSettings, SettingsError

TARGET = Recipe.metadata  # holds every SQLModel table


def database_url() -> str:
    """Return the address of the database to migrate.

    Raises:
        CommandError: DATABASE_URL is missing or is not a PostgreSQL address.
    """
    given = context.config.attributes.get("database_url")
    if given:
        return str(given)
    configure_logging("critical", stream=sys.stderr)  # the command prints each failure once
    try:
        return DatabaseSettings.from_environment(os.environ).database_url.get_secret_value()
    except SettingsError as error:
        raise CommandError(str(error)) from None


def report(*, step: MigrationInfo, **_: Any) -> None:  # noqa: ANN401 - Alembic passes other arguments, and may add more
    """Print a line for each migration that has run, for the log of a release; Python callers get none."""
    if "database_url" not in context.config.attributes and not context.is_offline_mode():
        origin = " and ".join(step.source_revision_ids) or "an empty database"
        context.config.print_stdout(
            f"Migrated from {origin} to {' and '.join(step.destination_revision_ids) or 'an empty database'}."
        )


def run_migrations(connection: Connection | None = None, *, url: str | None = None) -> None:
    """Run the pending migrations on a connection, or print them as SQL without one."""
    context.configure(
        connection=connection,
        url=url,
        target_metadata=TARGET,
        compare_type=True,
        compare_server_default=True,
        literal_binds=connection is None,
        on_version_apply=cast("Any", report),  # its type does not declare that the arguments are keywords
    )
    with context.begin_transaction():
        if connection is not None:
            # When two releases run at once, the second waits for the first and then finds nothing to do.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7318290473)")
        context.run_migrations()


async def connect(engine: AsyncEngine) -> AsyncConnection:
    """Return an open connection.

    Raises:
        CommandError: The database cannot be reached, or rejects the user, the password or the database name.
    """
    try:
        with translate_errors():
            return await engine.connect()
    except DatabaseUnavailable as error:
        cause = str(error.__cause__).partition("\n")[0]
        raise CommandError(f"cannot connect to the database in DATABASE_URL: {cause}") from None


async def run_online() -> None:
    """Connect and run the pending migrations."""
    engine = migration_engine(database_url())
    connection = await connect(engine)
    try:
        await connection.run_sync(run_migrations)
        await connection.commit()
    finally:
        await connection.close()
        await engine.dispose()


if context.is_offline_mode():
    run_migrations(url="postgresql+asyncpg://")  # which SQL to write; nothing connects
else:
    asyncio.run(run_online())
