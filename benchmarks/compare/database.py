"""The one PostgreSQL, with its defaults: every commit is on disk before it is answered."""

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
        """How many rows the table has."""
        return int(asyncio.run(self._value(f"SELECT count(*) FROM {table}")))  # noqa: S608 - a name of ours

    def clear(self, table: str) -> None:
        """Empties the table, and leaves no checkpoint to come due within a measurement."""
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
    """Runs it, with the service's own tables; the peers make theirs."""
    with postgres(folder) as url:
        migrate(url)
        yield Database(url)
