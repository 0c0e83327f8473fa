"""Recipes in and out of their table; how they come in is the business of `records`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select

from recipe_api.database.models import Recipe, RecipeBase
from recipe_api.database.session import session
from recipe_api.errors import RecipeNotFound

KEY_BATCH = 1000
SWEEP_LOCK = 0x5EED_0001
"""Any number that nothing else in this database takes as an advisory lock."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the place of its last recipe in the order of all."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Page:
    """Some recipes, newest first, and where to go on; None at the end."""

    recipes: Sequence[Recipe]
    next: Position | None


class Recipes:
    """The table of recipes. Every method may raise `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def is_committed(self, recipe: RecipeBase) -> bool:
        """Whether a row is there whose commit was in doubt, or cancelled.

        A mere look could come too early: the old transaction may still be ending. An insert of the same key waits
        for it, and finds the row or finds it gone for good; its own row is rolled back.
        """
        values = recipe.model_dump()
        probe = insert(Recipe).values(values).on_conflict_do_nothing().returning(col(Recipe.id))
        async with session(self._engine) as opened:
            absent = (await opened.exec(probe)).one_or_none() is not None
            await opened.rollback()
        return not absent

    async def get(self, recipe_id: UUID) -> Recipe:
        """One recipe.

        Raises:
            RecipeNotFound: There is none of this id.
        """
        async with session(self._engine) as opened:
            recipe = await opened.get(Recipe, recipe_id)
        if recipe is None:
            raise _not_found(recipe_id)
        return recipe

    async def page(self, *, after: Position | None, limit: int) -> Page:
        """Up to `limit` recipes, newest first, that come after a position."""
        order = (col(Recipe.created_at), col(Recipe.id))
        statement = select(Recipe).order_by(*(column.desc() for column in order)).limit(limit + 1)
        if after is not None:
            statement = statement.where(tuple_(*order) < (after.created_at, after.id))
        async with session(self._engine) as opened:
            found = (await opened.exec(statement)).all()
        recipes = found[:limit]
        more = len(found) > limit
        return Page(recipes, Position(recipes[-1].created_at, recipes[-1].id) if more else None)

    async def rename(self, recipe_id: UUID, label: str) -> Recipe:
        """Sets a recipe's label.

        Raises:
            RecipeNotFound: There is none of this id.
        """
        statement = update(Recipe).where(col(Recipe.id) == recipe_id).values(label=label).returning(Recipe)
        async with session(self._engine) as opened:
            recipe: Recipe | None = (await opened.exec(statement)).scalar_one_or_none()
            await opened.commit()
        if recipe is None:
            raise _not_found(recipe_id)
        return recipe

    async def remove(self, recipe_id: UUID) -> str:
        """Deletes a row; answers the key of the object that it spoke of.

        Raises:
            RecipeNotFound: There is none of this id.
        """
        statement = delete(Recipe).where(col(Recipe.id) == recipe_id).returning(col(Recipe.key))
        async with session(self._engine) as opened:
            key: str | None = (await opened.exec(statement)).scalar_one_or_none()
            await opened.commit()
        if key is None:
            raise _not_found(recipe_id)
        return key

    async def keys(self, *, after: str, until: str | None) -> AsyncIterator[str]:
        """All keys greater than `after` and less than `until`, in order of bytes.

        Read in batches, a short statement each: a sweep of a million rows holds neither memory nor a transaction.
        """
        key = col(Recipe.key)
        while True:
            statement = select(key).where(key > after).order_by(key).limit(KEY_BATCH)
            if until is not None:
                statement = statement.where(key < until)
            async with session(self._engine) as opened:
                batch = (await opened.exec(statement)).all()
            for found in batch:
                yield found
            if len(batch) < KEY_BATCH:
                return
            after = batch[-1]

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Those of these keys that a row has."""
        async with session(self._engine) as opened:
            return set((await opened.exec(select(col(Recipe.key)).where(col(Recipe.key).in_(keys)))).all())

    async def remove_keys(self, keys: Sequence[str]) -> None:
        """Deletes the rows that have these keys."""
        async with session(self._engine) as opened:
            await opened.exec(delete(Recipe).where(col(Recipe.key).in_(keys)))
            await opened.commit()

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[bool]:
        """Whether this is the only sweep, for as long as the block lasts.

        An advisory lock of the connection's session: it goes with the connection, however the process ends.
        """
        async with session(self._engine) as opened:
            # In a transaction, the lock would keep one open for as long as the sweep lasts.
            connection = await opened.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            locked = await connection.scalar(select(func.pg_try_advisory_lock(SWEEP_LOCK)))
            try:
                yield bool(locked)
            finally:
                if locked:
                    await connection.scalar(select(func.pg_advisory_unlock(SWEEP_LOCK)))

    async def check(self) -> None:
        """Returns when the database answers and knows the table."""
        async with session(self._engine) as opened:
            await opened.exec(select(Recipe).limit(0))


def _not_found(recipe_id: UUID) -> RecipeNotFound:
    return RecipeNotFound(f"There is no recipe {recipe_id}.")
