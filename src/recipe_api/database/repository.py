"""Recipes in and out of their table. All SQL of the service stands here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select

from recipe_api.database.models import Recipe
from recipe_api.database.session import session
from recipe_api.errors import RecipeNotFound


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

    async def add(self, recipe: Recipe) -> None:
        """Inserts a row; when this returns, it is committed."""
        async with session(self._engine) as opened:
            opened.add(recipe)
            await opened.commit()

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
            recipe = (await opened.execute(statement)).scalar_one_or_none()
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
            key = (await opened.execute(statement)).scalar_one_or_none()
            await opened.commit()
        if key is None:
            raise _not_found(recipe_id)
        return key

    async def check(self) -> None:
        """Returns when the database answers and knows the table."""
        async with session(self._engine) as opened:
            await opened.execute(text("SELECT FROM recipe LIMIT 0"))


def _not_found(recipe_id: UUID) -> RecipeNotFound:
    return RecipeNotFound(f"There is no recipe {recipe_id}.")
