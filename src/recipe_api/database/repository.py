"""Reads, changes and deletes recipes. `recipe_writer` inserts them."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, text, tuple_, update
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


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photo and its renditions, as the row describes them."""

    ref: ObjectRef
    rendition_sizes: Sequence[int]
    """The sizes of the renditions that have been made: their longest sides in pixels."""


BY_STEM = text(
    """
    SELECT photo.key, photo.bucket, photo.location, photo.rendition_sizes
    FROM unnest(CAST(:stems AS text[])) AS stem
    CROSS JOIN LATERAL (
        SELECT * FROM recipe WHERE key > stem || '.' AND key < stem || '/' ORDER BY key LIMIT 1
    ) AS photo
    """
)
"""The range and its limit make PostgreSQL use the index, whatever it estimates. In ASCII, a slash follows the dot."""
_FORGET_RENDITION = text(
    """
    UPDATE recipe SET rendition_sizes = array_remove(rendition_sizes, :size)
    WHERE key > :stem || '.' AND key < :stem || '/'
    """
)


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

    async def stored_photos(self, *, after: str, until: str | None) -> AsyncIterator[StoredPhoto]:
        """Yield all photos with keys greater than `after` and less than `until`, in the byte order of their keys.

        They are read in batches, so that a sweep of a million rows needs little memory and no long transaction.
        """
        key = col(Recipe.key)
        while True:
            statement = select(*_STORED_PHOTO).where(key > after).order_by(key).limit(KEY_BATCH)
            if until is not None:
                statement = statement.where(key < until)
            async with session(self._engine) as opened:
                batch = [_stored_photo(row) for row in await opened.exec(statement)]
            for photo in batch:
                yield photo
            if len(batch) < KEY_BATCH:
                return
            after = batch[-1].ref.key

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return the keys that have a row."""
        async with session(self._engine) as opened:
            return set((await opened.exec(select(col(Recipe.key)).where(col(Recipe.key).in_(keys)))).all())

    async def with_stems(self, stems: Collection[str]) -> list[StoredPhoto]:
        """Return the photos whose keys consist of one of these stems, a dot and an extension."""
        async with session(self._engine) as opened:
            rows = await (await opened.connection()).execute(BY_STEM, {"stems": list(stems)})
            return [_stored_photo(row) for row in rows]

    async def forget_renditions(self, renditions: Iterable[tuple[str, int]]) -> None:
        """Remove renditions from the rows of their photos, so that they are made again.

        Args:
            renditions: The stem of each photo's key, as in `with_stems`, with the size of the rendition.
        """
        values = [{"stem": stem, "size": size} for stem, size in renditions]
        async with session(self._engine) as opened:
            await (await opened.connection()).execute(_FORGET_RENDITION, values)
            await opened.commit()

    async def remove_keys(
        self, keys: Sequence[str], *, objects_of: Callable[[Recipe], Sequence[ObjectRef]]
    ) -> list[ObjectRef]:
        """Delete the rows with these keys and return their objects, as `remove` does."""
        statement = delete(Recipe).where(col(Recipe.key).in_(keys)).returning(Recipe)
        async with session(self._engine) as opened:
            refs = [ref for recipe in (await opened.exec(statement)).scalars() for ref in objects_of(recipe)]
            if refs:
                await request_deletion(opened, refs)
            await opened.commit()
        return refs


def photo_of(recipe: RecipeBase) -> ObjectRef:
    """Return the object with a recipe's photo."""
    return ObjectRef(key=recipe.key, bucket=recipe.bucket, location=recipe.location)


_STORED_PHOTO = (col(Recipe.key), col(Recipe.bucket), col(Recipe.location), col(Recipe.rendition_sizes))


def _stored_photo(row: Any) -> StoredPhoto:  # noqa: ANN401 - SQLAlchemy and SQLModel have different types of rows
    ref = ObjectRef(key=row.key, bucket=row.bucket, location=row.location)
    return StoredPhoto(ref, row.rendition_sizes or ())


def _not_found(recipe_id: UUID) -> RecipeNotFound:
    return RecipeNotFound(f"There is no recipe {recipe_id}; it may have been deleted.")
