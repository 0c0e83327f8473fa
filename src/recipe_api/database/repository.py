"""Reads, changes and deletes recipes. `recipe_writer` inserts them."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select

from recipe_api.database.deletions import ObjectRef, request_deletion
from recipe_api.database.models import Recipe, RecipeBase
from recipe_api.database.session import session
from recipe_api.errors import RecipeNotFound

KEY_BATCH = 1000
"""Keys per query when all keys are read."""


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a recipe in the order of all recipes."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Page:
    """A page of recipes, newest first, and the position after which the next page begins, or None on the last page."""

    recipes: Sequence[Recipe]
    next: Position | None


class Recipes:
    """The table of recipes. Every method may raise `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def is_committed(self, recipe: RecipeBase) -> bool:
        """Return whether the row was committed, after a commit that was in doubt or cancelled.

        A SELECT could run too early, while the first transaction is still in progress. An insert of the same key waits
        for that transaction to end, and then shows whether the row exists. The insert itself is rolled back.
        """
        values = recipe.model_dump()
        probe = insert(Recipe).values(values).on_conflict_do_nothing().returning(col(Recipe.id))
        async with session(self._engine) as opened:
            absent = (await opened.exec(probe)).one_or_none() is not None
            await opened.rollback()
        return not absent

    async def get(self, recipe_id: UUID) -> Recipe:
        """Return a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        async with session(self._engine) as opened:
            recipe = await opened.get(Recipe, recipe_id)
        if recipe is None:
            raise _not_found(recipe_id)
        return recipe

    async def page(self, *, after: Position | None, limit: int) -> Page:
        """Return up to `limit` recipes that follow a position, newest first."""
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
        """Change the label of a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        statement = update(Recipe).where(col(Recipe.id) == recipe_id).values(label=label).returning(Recipe)
        async with session(self._engine) as opened:
            recipe: Recipe | None = (await opened.exec(statement)).scalar_one_or_none()
            await opened.commit()
        if recipe is None:
            raise _not_found(recipe_id)
        return recipe

    async def remove(
        self, recipe_id: UUID, *, objects_of: Callable[[Recipe], Sequence[ObjectRef]]
    ) -> Sequence[ObjectRef]:
        """Delete a row and return its objects, whose deletion becomes pending in the same commit.

        Args:
            recipe_id: The recipe.
            objects_of: Returns the objects of a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        statement = delete(Recipe).where(col(Recipe.id) == recipe_id).returning(Recipe)
        async with session(self._engine) as opened:
            recipe: Recipe | None = (await opened.exec(statement)).scalar_one_or_none()
            if recipe is None:
                raise _not_found(recipe_id)
            refs = objects_of(recipe)
            await request_deletion(opened, refs)
            await opened.commit()
        return refs

    async def keys(self, *, after: str, until: str | None) -> AsyncIterator[str]:
        """Yield all keys greater than `after` and less than `until`, in byte order.

        They are read in batches, so that a sweep of a million rows needs little memory and no long transaction.
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
        """Return the keys that have a row."""
        async with session(self._engine) as opened:
            return set((await opened.exec(select(col(Recipe.key)).where(col(Recipe.key).in_(keys)))).all())

    async def object_refs(self, keys: Sequence[str]) -> list[ObjectRef]:
        """Return the objects of these keys, as their rows describe them."""
        async with session(self._engine) as opened:
            return _object_refs(await opened.exec(select(*_OBJECT_REF).where(col(Recipe.key).in_(keys))))

    async def remove_keys(self, keys: Sequence[str]) -> None:
        """Delete the rows with these keys."""
        async with session(self._engine) as opened:
            await opened.exec(delete(Recipe).where(col(Recipe.key).in_(keys)))
            await opened.commit()


def photo_of(recipe: RecipeBase) -> ObjectRef:
    """Return the object with a recipe's photo."""
    return ObjectRef(key=recipe.key, bucket=recipe.bucket, location=recipe.location)


_OBJECT_REF = (col(Recipe.key), col(Recipe.bucket), col(Recipe.location))


def _object_refs(rows: Iterable[Any]) -> list[ObjectRef]:
    return [ObjectRef(key=key, bucket=bucket, location=location) for key, bucket, location in rows]


def _not_found(recipe_id: UUID) -> RecipeNotFound:
    return RecipeNotFound(f"There is no recipe {recipe_id}; it may have been deleted.")
