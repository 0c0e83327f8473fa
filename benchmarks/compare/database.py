"""The shared PostgreSQL with its defaults: every commit is on disk before it is acknowledged.

Each contestant has a database of its own in it, so that two releases of the service can be compared.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from recipe_api.dev.postgres import postgres


def no_migration(_: str) -> None:
    """Leave a new database empty, for contestants that create their table when they start."""


@dataclass(frozen=True, slots=True)
class Database:
    """The database of one contestant."""

    url: str = field(repr=False)

    def rows(self, table: str) -> int:
        """Return the number of rows in a table."""
        return int(asyncio.run(_value(self.url, f"SELECT count(*) FROM {table}")))  # noqa: S608 - our own table name

    def clear(self, table: str) -> None:
        """Empty the table, and run a checkpoint so that none becomes due within a measurement."""
        self.execute(f"TRUNCATE {table} CASCADE", "CHECKPOINT")

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        for statement in statements:
            asyncio.run(_value(self.url, statement))


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running PostgreSQL."""

    url: str = field(repr=False)
    """Of its first database, which no contestant uses."""
    databases: dict[str, Database] = field(default_factory=dict)

    def database(self, name: str, migrate: Callable[[str], None] = no_migration) -> Database:
        """Return a database by name; create and migrate it the first time."""
        if name not in self.databases:
            asyncio.run(_value(self.url, f'CREATE DATABASE "{name}"'))
            found = Database(f"{self.url.rpartition('/')[0]}/{name}")
            migrate(found.url)
            self.databases[name] = found
        return self.databases[name]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run PostgreSQL."""
    with postgres(folder) as url:
        yield Cluster(url)


async def _value(url: str, statement: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement) or 0
    finally:
        await connection.close()
