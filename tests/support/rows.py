"""Rows for tests of the database."""

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.deletions import ObjectRef
from recipe_api.database.models import RecipeRow
from recipe_api.database.repository import photo_of

BEGINNING = datetime(2026, 11, 22, 7, 29, 27, 934_000, tzinfo=UTC)
_numbers = count()


def row(*, label: str = "Pancakes", seconds: int = 0, recipe_id: UUID | None = None) -> RecipeRow:
    """Return a new recipe, created this many seconds after a fixed start."""
    key = f"{next(_numbers):013d}-{uuid4().hex}.jpg"
    return RecipeRow(
        id=recipe_id or uuid4(),
        label=label,
        key=key,
        location=f"https://photos.test/{key}",
        content_type="image/jpeg",
        size=2**40,
        etag="0" * 32,
        original_name="pancakes.jpg",
        created_at=BEGINNING + timedelta(seconds=seconds),
        bucket=None,
        width=None,
        height=None,
        photo_metadata=None,
    )


def photo_only(recipe: RecipeRow) -> list[ObjectRef]:
    """Return the objects of a recipe without renditions."""
    return [photo_of(recipe)]


async def emptied(engine: AsyncEngine) -> None:
    """Delete all rows."""
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE recipe CASCADE"))
