"""The shared PostgreSQL with its defaults: every commit is on disk before it is acknowledged.

Each contestant has a separate database for each load, so that two releases of the service can be compared.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from recipe_api.dev.postgres import postgres


def no_migration(_: str) -> None:
    """Leave a new database empty, for contestants that create their table when they start."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one contestant."""

    url: str = field(repr=False)

    def rows(self, table: str) -> int:
        """Return the number of rows in a table."""
        return int(self.row(f"SELECT count(*) FROM {table}")[0])  # noqa: S608 - our own table name

    def clear(self, table: str) -> None:
        """Empty the table, and run a checkpoint so that none becomes due within a measurement."""
        self.execute(f"TRUNCATE {table} CASCADE", "CHECKPOINT")

    def execute(self, *statements: str) -> None:
        """Run each statement in a separate transaction."""
        for statement in statements:
            asyncio.run(_fetched(self.url, statement))

    def row(self, statement: str) -> Sequence[Any]:
        """Return the first row of a query."""
        return asyncio.run(_fetched(self.url, statement))[0]

    def column(self, statement: str) -> list[Any]:
        """Return the first column of a query."""
        return [row[0] for row in asyncio.run(_fetched(self.url, statement))]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The running PostgreSQL."""

    url: str = field(repr=False)
    """The URL of its first database, which no contestant uses."""
    databases: dict[str, Database] = field(default_factory=dict)

    def database(self, name: str, migrate: Callable[[str], None] = no_migration) -> Database:
        """Return a database by name; create and migrate it on first use."""
        if name not in self.databases:
            asyncio.run(_fetched(self.url, f'CREATE DATABASE "{name}"'))
            found = Database(f"{self.url.rpartition('/')[0]}/{name}")
            migrate(found.url)
            self.databases[name] = found
        return self.databases[name]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Run PostgreSQL."""
    with postgres(folder) as url:
        yield Cluster(url)


async def _fetched(url: str, statement: str) -> list[Sequence[Any]]:
    connection = await asyncpg.connect(url)
    try:
        rows: list[Sequence[Any]] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()
