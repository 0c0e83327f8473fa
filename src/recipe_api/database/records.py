"""The rows of uploads: committed in groups, each group in one statement, which may be sent twice.

A row, and with it the end of its idempotency key, needs no transaction: a statement commits by itself. The driver runs
it, on connections kept for nothing else, so that no listing keeps an upload waiting; a session's transaction would cost
many times as much (docs/benchmarks.md, "One row"). The statement says the same however often it is sent, since a
recipe's id is its upload's alone. So no connection is tried before it is used: where one breaks, the statement goes out
again on a new one, and nobody need know whether it had worked before.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog
from sqlalchemy.dialects.postgresql import asyncpg as driver
from sqlalchemy.sql import ClauseElement

from recipe_api.database.group_commit import GroupCommit
from recipe_api.database.idempotency import Finished
from recipe_api.database.inserts import CLAIMED, ROWS, ROWS_WITH_KEYS
from recipe_api.database.models import RecipeBase
from recipe_api.database.session import POOL_SECONDS, committing, driver_options, record_connections, translated
from recipe_api.errors import CommitInDoubt, KeyInUse
from recipe_api.settings import DatabaseSettings

_log = structlog.get_logger(__name__)

STATEMENT_SECONDS = 8
"""How long a statement may take. Twice this, and a connection made anew, fit into the time that an answer may take."""


class Records:
    """Where the rows of uploads go; see `open_records`."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._plain = GroupCommit(self._write)
        self._keyed = GroupCommit(self._write_keyed)

    async def add(self, recipe: RecipeBase, finished: Finished | None = None) -> None:
        """Inserts a row, and finishes the idempotency key it came with; when this returns, both are committed.

        Raises:
            DatabaseUnavailable: The row is not there, and will not be.
            CommitInDoubt: It may be there. After `settled`, `Recipes.is_committed` tells.
            KeyInUse: Another request has the idempotency key now; the row is not there.
        """
        if finished is None:
            await self._plain.add(recipe)
        elif not await self._keyed.add((recipe, finished)):
            raise KeyInUse("Another upload took over this Idempotency-Key; ask again in a moment.")

    async def settled(self) -> None:
        """Returns when no row is on its way any more whose `add` had ended before."""
        await self._plain.settled()
        await self._keyed.settled()

    async def close(self) -> None:
        """Ends what is under way."""
        await self._plain.close()
        await self._keyed.close()

    async def _write(self, recipes: Sequence[RecipeBase]) -> Sequence[bool]:
        await self._insisted(_ROWS, [vars(recipe) for recipe in recipes])
        return [True] * len(recipes)

    async def _write_keyed(self, rows: Sequence[tuple[RecipeBase, Finished]]) -> Sequence[bool]:
        values = [vars(recipe) | finished.values() for recipe, finished in rows]
        taken = {found[CLAIMED] for found in await self._insisted(_ROWS_WITH_KEYS, values)}
        return [recipe.id in taken for recipe, _ in rows]

    async def _insisted(self, statement: "_Statement", rows: Sequence[dict[str, Any]]) -> "list[asyncpg.Record]":
        arguments = statement.arguments(rows)
        try:
            return await self._run(statement.sql, arguments)
        except CommitInDoubt:
            await self._pool.expire_connections()  # after a failover all of them are dead
        try:
            return await self._run(statement.sql, arguments)
        except Exception as error:  # which says nothing of the first time
            raise CommitInDoubt("The database does not answer now; try again in a moment.") from error

    async def _run(self, sql: str, arguments: Sequence[list[Any]]) -> "list[asyncpg.Record]":
        with translated():
            connection = await self._pool.acquire(timeout=POOL_SECONDS)
        try:
            with committing():
                found: list[asyncpg.Record] = await connection.fetch(sql, *arguments, timeout=STATEMENT_SECONDS)
        except BaseException:
            # With this the pool has its place back. Given the connection itself, it would wait until the server has
            # heard of a cancellation; one that was lost it has taken back already.
            with suppress(asyncpg.InterfaceError):
                connection.terminate()
            raise
        try:
            await self._pool.release(connection)
        except Exception:  # noqa: BLE001 - the statement has worked, whatever becomes of its connection
            _log.warning("a database connection could not be kept")
        return found


@asynccontextmanager
async def open_records(settings: DatabaseSettings) -> AsyncIterator[Records]:
    """Records on connections of their own, which close with the block. Nothing connects before it is used."""
    pool = asyncpg.create_pool(
        min_size=0, max_size=record_connections(settings), reset=_nothing_to_reset, **driver_options(settings)
    )
    async with pool:
        records = Records(pool)
        try:
            yield records
        finally:
            await records.close()
            pool.terminate()  # what is under way is in doubt either way: `close` would wait for a server that is silent


async def _nothing_to_reset(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """A statement that commits by itself leaves its session as it was; a round trip would tell it so."""


class _Statement:
    """A statement as the driver takes it: an array for each name, and a number for the name."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled: Any = clause.compile(dialect=driver.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup)

    def arguments(self, rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
        """The values by column, in the order of their numbers."""
        return [[row[name] for row in rows] for name in self._names]


_ROWS, _ROWS_WITH_KEYS = _Statement(ROWS), _Statement(ROWS_WITH_KEYS)
