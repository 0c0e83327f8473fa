"""Runs migrations on the database of DATABASE_URL, over asyncpg as the service itself does.

A caller in Python may hand over the address instead: `config.attributes["database_url"]`.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from recipe_api.database.models import Recipe
from recipe_api.settings import DatabaseSettings, asyncpg_url

TARGET = Recipe.metadata  # that of all SQLModel tables


def database_url() -> str:
    """The address to migrate."""
    given = context.config.attributes.get("database_url")
    if given:
        return asyncpg_url(given)
    return DatabaseSettings.from_environment(os.environ).database_url.get_secret_value()


def run_migrations(connection: Connection | None = None, *, url: str | None = None) -> None:
    """Runs what is due, on a connection or as SQL on standard output."""
    context.configure(
        connection=connection,
        url=url,
        target_metadata=TARGET,
        compare_type=True,
        compare_server_default=True,
        literal_binds=connection is None,
    )
    with context.begin_transaction():
        if connection is not None:
            # Two releases at once: the second waits for the first, and then finds nothing to do.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7318290473)")
        context.run_migrations()


async def run_online() -> None:
    """Connects, and runs what is due."""
    engine = create_async_engine(database_url(), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run_migrations)
        await connection.commit()
    await engine.dispose()


if context.is_offline_mode():
    run_migrations(url=database_url())
else:
    asyncio.run(run_online())
