"""The shared PostgreSQL with its defaults: every commit is on disk before it is acknowledged."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from recipe_api.dev.migrations import migrate
from recipe_api.dev.postgres import postgres


@dataclass(frozen=True, slots=True)
class Database:
    """The running database."""

    url: str = field(repr=False)

    def rows(self, table: str) -> int:
        """Return the number of rows in a table."""
        return int(asyncio.run(self._value(f"SELECT count(*) FROM {table}")))  # noqa: S608 - our own table name

    def clear(self, table: str) -> None:
        """Empty the table, and run a checkpoint so that none becomes due within a measurement."""
        asyncio.run(self._value(f"TRUNCATE {table} CASCADE"))
        asyncio.run(self._value("CHECKPOINT"))

    async def _value(self, statement: str) -> int:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(statement) or 0
        finally:
            await connection.close()


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """Run it with the service's tables; the other contestants create theirs."""
    with postgres(folder) as url:
        migrate(url)
        yield Database(url)
