"""Reads, changes and deletes recipes. `recipe_writer` inserts them."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, bindparam, delete, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select

from recipe_api.database.deletions import ObjectRef, request_deletion
from recipe_api.database.direct import DirectStatements, sql_of
from recipe_api.database.models import Recipe, RecipeRow
from recipe_api.database.observation import Begin
from recipe_api.database.row_pool import SharedPool
from recipe_api.database.session import STATEMENT_SECONDS, session
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

    recipes: Sequence[RecipeRow]
    next: Position | None


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photo and its renditions, as the row describes them."""

    ref: ObjectRef
    rendition_sizes: Sequence[int]
    """The sizes of the renditions that have been made: their longest sides in pixels."""


_ROW: list[Column[Any]] = [Recipe.metadata.tables["recipe"].columns[name] for name in RecipeRow._fields]
_ORDER = (col(Recipe.created_at), col(Recipe.id))
_NEWEST_FIRST = select(*_ROW).order_by(*(column.desc() for column in _ORDER)).limit(bindparam("limit"))

_BY_ID = sql_of(select(*_ROW).where(col(Recipe.id) == bindparam("recipe_id")))
_FIRST_PAGE = sql_of(_NEWEST_FIRST)
_PAGE_AFTER = sql_of(_NEWEST_FIRST.where(tuple_(*_ORDER) < tuple_(bindparam("created_at"), bindparam("last_id"))))
_RENAME = sql_of(
    update(Recipe).values(label=bindparam("new_label")).where(col(Recipe.id) == bindparam("recipe_id")).returning(*_ROW)
)

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
        self._direct = DirectStatements(SharedPool(engine), seconds=STATEMENT_SECONDS)

    def observe(self, begin: Begin) -> None:
        """Call `begin` before each statement that does not go through the engine."""
        self._direct.begin = begin

    async def is_committed(self, recipe: RecipeRow) -> bool:
        """Return whether the row was committed, after a commit that was in doubt or cancelled.

        A SELECT could run too early, while the first transaction is still in progress. An insert of the same key waits
        for that transaction to end, and then shows whether the row exists. The insert itself is rolled back.
        """
        probe = insert(Recipe).values(recipe._asdict()).on_conflict_do_nothing().returning(col(Recipe.id))
        async with session(self._engine) as opened:
            absent = (await opened.exec(probe)).one_or_none() is not None
            await opened.rollback()
        return not absent

    async def get(self, recipe_id: UUID) -> RecipeRow:
        """Return a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        return _only(await self._direct.fetch(_BY_ID, recipe_id), recipe_id)

    async def page(self, *, after: Position | None, limit: int) -> Page:
        """Return up to `limit` recipes that follow a position, newest first."""
        if after is None:
            found = await self._direct.fetch(_FIRST_PAGE, limit + 1)
        else:
            found = await self._direct.fetch(_PAGE_AFTER, after.created_at, after.id, limit + 1)
        recipes = [RecipeRow(*record) for record in found[:limit]]
        more = len(found) > limit
        return Page(recipes, Position(recipes[-1].created_at, recipes[-1].id) if more else None)

    async def rename(self, recipe_id: UUID, label: str) -> RecipeRow:
        """Change the label of a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        return _only(await self._direct.fetch(_RENAME, label, recipe_id), recipe_id)

    async def remove(
        self, recipe_id: UUID, *, objects_of: Callable[[RecipeRow], Sequence[ObjectRef]]
    ) -> Sequence[ObjectRef]:
        """Delete a row and return its objects, whose deletion becomes pending in the same commit.

        Args:
            recipe_id: The recipe.
            objects_of: Returns the objects of a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        statement = delete(Recipe).where(col(Recipe.id) == recipe_id).returning(*_ROW)
        async with session(self._engine) as opened:
            refs = objects_of(_only((await opened.exec(statement)).all(), recipe_id))
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
        self, keys: Sequence[str], *, objects_of: Callable[[RecipeRow], Sequence[ObjectRef]]
    ) -> list[ObjectRef]:
        """Delete the rows with these keys and return their objects, as `remove` does."""
        statement = delete(Recipe).where(col(Recipe.key).in_(keys)).returning(*_ROW)
        async with session(self._engine) as opened:
            refs = [ref for row in await opened.exec(statement) for ref in objects_of(RecipeRow(*row))]
            if refs:
                await request_deletion(opened, refs)
            await opened.commit()
        return refs


def photo_of(recipe: RecipeRow) -> ObjectRef:
    """Return the object with a recipe's photo."""
    return ObjectRef(key=recipe.key, bucket=recipe.bucket, location=recipe.location)


_STORED_PHOTO = (col(Recipe.key), col(Recipe.bucket), col(Recipe.location), col(Recipe.rendition_sizes))


def _stored_photo(row: Any) -> StoredPhoto:  # noqa: ANN401 - SQLAlchemy and SQLModel have different types of rows
    ref = ObjectRef(key=row.key, bucket=row.bucket, location=row.location)
    return StoredPhoto(ref, row.rendition_sizes or ())


def _only(rows: Sequence[Iterable[Any]], recipe_id: UUID) -> RecipeRow:
    """Return the row of the recipe with this id.

    Raises:
        RecipeNotFound: There is no row.
    """
    for row in rows:
        return RecipeRow(*row)
    raise RecipeNotFound(f"There is no recipe {recipe_id}; it may have been deleted.")
