"""Inserts uploaded rows in groups: one statement for each group, which may be sent twice.

Inserting a row and finishing its idempotency key is one statement, which commits by itself and needs no transaction.
The driver runs it directly, on connections reserved for it, so that lists of recipes do not delay uploads; a session
with a transaction would cost many times as much (docs/benchmarks.md, "What was tried"). The statement is idempotent,
because a recipe's id belongs to one upload alone. So connections are not tested before use: if one breaks, the
statement is sent again on a new one, whether or not the first attempt succeeded.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
from pydantic_core import to_json
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.client_usage import Charge, set_used
from recipe_api.database.completions import Completed
from recipe_api.database.direct import DirectStatements, sql_of
from recipe_api.database.group_commit import GroupCommit
from recipe_api.database.idempotency import Finished
from recipe_api.database.inserts import (
    CHARGED_ROWS,
    CHARGED_ROWS_WITH_KEYS,
    CLAIMED,
    COLUMNS,
    ROWS,
    ROWS_OF_UPLOADS,
    ROWS_WITH_KEYS,
)
from recipe_api.database.models import RecipeRow
from recipe_api.database.row_pool import ReservedPool, RowPool, SharedPool
from recipe_api.database.session import (
    POOL_SECONDS,
    connector,
    translate_autocommit_errors,
    translate_errors,
    writer_connections,
)
from recipe_api.errors import CommitInDoubt, IdempotencyKeyInUse, UploadInProgress
from recipe_api.settings import DatabaseSettings

STATEMENT_SECONDS = 8
"""Timeout of a statement. Two of them and a new connection fit into the time that a response may take."""


Finishing = Finished | Completed
"""What is finished by the statement that inserts the row: an idempotency key, or a staged upload."""


class RecipeWriter:
    """Inserts uploaded rows; see `open_recipe_writer`."""

    def __init__(self, pool: RowPool) -> None:
        self._pool = pool
        self._direct = DirectStatements(pool, seconds=STATEMENT_SECONDS)
        self._plain = GroupCommit(self._write)
        self._keyed = GroupCommit(partial(self._write_claimed, _ROWS_WITH_KEYS))
        self._staged = GroupCommit(partial(self._write_claimed, _ROWS_OF_UPLOADS))
        self._charged = GroupCommit(self._write_charged)
        self._keyed_charged = GroupCommit(self._write_claimed_charged)
        self._groups: Sequence[GroupCommit[Any]] = (
            self._plain,
            self._keyed,
            self._staged,
            self._charged,
            self._keyed_charged,
        )

    @property
    def rows_sent(self) -> int:
        """The number of rows that were sent since the process started."""
        return sum(group.sent for group in self._groups)

    @property
    def rows_waiting(self) -> int:
        """The number of rows that wait for the statement in progress."""
        return sum(group.waiting for group in self._groups)

    async def add(
        self,
        recipe: RecipeRow,
        finished: Finishing | None = None,
        charge: Charge | None = None,
        *,
        until: float | None = None,
    ) -> None:
        """Insert a row, and in the same statement finish its idempotency key or staged upload, and charge its client.

        All of it is committed when this returns.

        Args:
            recipe: The row.
            finished: The claim to finish, if there is one.
            charge: What to add to the client's usage, if anything. A staged upload was charged when it began.
            until: The deadline, by the clock of the event loop.

        Raises:
            DatabaseUnavailable: The row was not inserted, and will not be.
            CommitInDoubt: The row may exist. After `settle`, `Recipes.is_committed` returns whether it does.
            IdempotencyKeyInUse: Another request has claimed the idempotency key; the row was not inserted.
            UploadInProgress: Another request has claimed or ended the staged upload; the row was not inserted.
        """
        if finished is None:
            if charge is None:
                await self._plain.add(recipe, until=until)
            else:
                await self._charged.add((recipe, charge), until=until)
        elif isinstance(finished, Completed):
            if not await self._staged.add((recipe, finished), until=until):
                raise UploadInProgress("Another request took over this upload, or deleted it. Try again in a moment.")
        elif not await self._add_keyed(recipe, finished, charge, until=until):
            raise IdempotencyKeyInUse("Another upload took over this Idempotency-Key. Try again in a moment.")

    def _add_keyed(
        self, recipe: RecipeRow, finished: Finished, charge: Charge | None, *, until: float | None
    ) -> Awaitable[bool]:
        if charge is None:
            return self._keyed.add((recipe, finished), until=until)
        return self._keyed_charged.add((recipe, finished, charge), until=until)

    async def check(self) -> None:
        """Check that a connection for uploaded rows is open or can be opened.

        Raises:
            DatabaseUnavailable: No connection could be opened.
        """
        if self._pool.size == 0:
            with translate_errors():
                self._pool.release(await self._pool.acquire(timeout=POOL_SECONDS), is_usable=True)

    async def settle(self) -> None:
        """Wait until no statement can still insert a row whose `add` has ended."""
        for group in self._groups:
            await group.settle()

    async def close(self) -> None:
        """Cancel the statements in progress."""
        for group in self._groups:
            await group.close()

    async def _write(self, recipes: Sequence[RecipeRow]) -> Sequence[bool]:
        await self._run_with_retry(_ROWS, [_values(recipe) for recipe in recipes])
        return [True] * len(recipes)

    async def _write_claimed(self, sql: str, rows: Sequence[tuple[RecipeRow, Finishing]]) -> Sequence[bool]:
        values = [_values(recipe) | finished.values() for recipe, finished in rows]
        taken = {found[CLAIMED] for found in await self._run_with_retry(sql, values)}
        return [recipe.id in taken for recipe, _ in rows]

    async def _write_charged(self, rows: Sequence[tuple[RecipeRow, Charge]]) -> Sequence[bool]:
        values = [_values(recipe) | charge.values() for recipe, charge in rows]
        set_used([charge for _, charge in rows], await self._run_with_retry(_CHARGED_ROWS, values))
        return [True] * len(rows)

    async def _write_claimed_charged(self, rows: Sequence[tuple[RecipeRow, Finished, Charge]]) -> Sequence[bool]:
        values = [_values(recipe) | finished.values() | charge.values() for recipe, finished, charge in rows]
        found = await self._run_with_retry(_CHARGED_ROWS_WITH_KEYS, values)
        set_used([charge for _, _, charge in rows], found)
        taken = {record[CLAIMED] for record in found}
        return [recipe.id in taken for recipe, _, _ in rows]

    async def _run_with_retry(self, sql: str, rows: Sequence[dict[str, Any]]) -> "list[asyncpg.Record]":
        document = to_json(rows).decode()
        try:
            return await self._run(sql, document)
        except CommitInDoubt:
            self._pool.discard_idle()  # after a failover, all of them are broken
        try:
            return await self._run(sql, document)
        except Exception as error:  # the first attempt may have succeeded
            raise CommitInDoubt("The database does not respond. Try again in a moment.") from error

    async def _run(self, sql: str, document: str) -> "list[asyncpg.Record]":
        return await self._direct.fetch(sql, document, translated=translate_autocommit_errors)


@asynccontextmanager
async def open_recipe_writer(
    settings: DatabaseSettings, engine: AsyncEngine, make: Callable[[RowPool], RecipeWriter] = RecipeWriter
) -> AsyncIterator[RecipeWriter]:
    """Open a `RecipeWriter` with its own connections, or the engine's if the process may have only one.

    The connections are opened on first use and closed with the block.

    Args:
        settings: The database's address and the pool size.
        engine: The engine for everything else.
        make: Makes the writer.
    """
    pool = _pool(settings, engine)
    recipe_writer = make(pool)
    try:
        yield recipe_writer
    finally:
        await recipe_writer.close()
        pool.terminate()


def _pool(settings: DatabaseSettings, engine: AsyncEngine) -> RowPool:
    limit = writer_connections(settings)
    return ReservedPool(connector(settings).connect, limit=limit) if limit else SharedPool(engine)


def _values(recipe: RecipeRow) -> dict[str, Any]:
    return dict(zip(COLUMNS, recipe, strict=False))  # without the fields that an upload does not set


_ROWS, _ROWS_WITH_KEYS, _ROWS_OF_UPLOADS = map(sql_of, (ROWS, ROWS_WITH_KEYS, ROWS_OF_UPLOADS))
_CHARGED_ROWS, _CHARGED_ROWS_WITH_KEYS = map(sql_of, (CHARGED_ROWS, CHARGED_ROWS_WITH_KEYS))
