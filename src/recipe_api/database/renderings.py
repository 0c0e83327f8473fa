"""Claims on photos to render, and the number of attempts at each.

An attempt is counted before it begins, so that it counts even if the photo crashes the decoder or the whole process.
After `MAX_ATTEMPTS`, the photo is given up. A claim is a lease: it expires by itself and holds no connection. It
identifies its holder, so that an attempt whose claim has expired, or whose claim is in doubt, cannot end the claim of
another one. A success deletes the row. All times are those of the database.
"""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.session import session

MAX_ATTEMPTS = 3
CLAIM_SECONDS = 120
"""How long a claim lasts, which is longer than an attempt may take."""

_CLAIM = text(
    """
    INSERT INTO rendering AS known (recipe_id, attempts, holder, claimed_until)
    SELECT id, 1, :holder, now() + :seconds * interval '1 second' FROM recipe WHERE id = :id FOR KEY SHARE
    ON CONFLICT (recipe_id) DO UPDATE
    SET attempts = known.attempts + 1, holder = excluded.holder, claimed_until = excluded.claimed_until
    WHERE known.claimed_until <= now() AND known.attempts < :most
    RETURNING attempts
    """
)
"""The lock waits for a deletion of the row in progress, which would violate the foreign key otherwise."""
_STATE = text("SELECT attempts < :most FROM rendering WHERE recipe_id = :id")
_HELD = "recipe_id = :id AND holder = :holder AND claimed_until > now()"
_END = text(f"UPDATE rendering SET attempts = attempts - :uncounted, claimed_until = now() WHERE {_HELD}")  # noqa: S608 - contains no input
_GIVE_UP = text(f"UPDATE rendering SET attempts = :most, claimed_until = now() WHERE {_HELD}")  # noqa: S608 - likewise
_RECORD = text(
    """
    UPDATE recipe
    SET placeholder = :placeholder, width = coalesce(width, :width), height = coalesce(height, :height),
        rendition_sizes = ARRAY(
            SELECT DISTINCT size FROM unnest(coalesce(rendition_sizes, '{}') || CAST(:sizes AS integer[])) AS size
            ORDER BY size
        )
    WHERE id = :id
    """
)
_DONE = text("DELETE FROM rendering WHERE recipe_id = :id")
_RETRY = text("UPDATE rendering SET attempts = 0 WHERE recipe_id = :id AND attempts >= :most")


class Claim(StrEnum):
    """The result of claiming a photo."""

    HELD = "held"
    """This process may render it."""
    BUSY = "busy"
    """Another process is rendering it."""
    GIVEN_UP = "given up"
    """It failed too often."""


class Renderings:
    """The table of renderings. Every method may raise `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, recipe_id: UUID, holder: UUID) -> Claim:
        """Claim a photo for this holder and count the attempt. Return `GIVEN_UP` if the recipe does not exist."""
        async with session(self._engine) as opened:
            connection = await opened.connection()
            values = {"id": recipe_id, "holder": holder, "seconds": CLAIM_SECONDS, "most": MAX_ATTEMPTS}
            claimed = (await connection.execute(_CLAIM, values)).one_or_none()
            may_succeed = None
            if claimed is None:
                may_succeed = await connection.scalar(_STATE, {"id": recipe_id, "most": MAX_ATTEMPTS})
            await opened.commit()
        if claimed is not None:
            return Claim.HELD
        return Claim.BUSY if may_succeed else Claim.GIVEN_UP

    async def end(self, recipe_id: UUID, holder: UUID, *, counts: bool) -> None:
        """End a failed attempt and its claim. Do nothing unless this holder has the claim.

        Args:
            recipe_id: The recipe.
            holder: The holder of the claim.
            counts: Whether the attempt counts: it does if the photo may have caused the failure.
        """
        await self._run(_END, {"id": recipe_id, "holder": holder, "uncounted": 0 if counts else 1})

    async def give_up(self, recipe_id: UUID, holder: UUID) -> None:
        """Record that a photo cannot be rendered, and end this holder's claim."""
        await self._run(_GIVE_UP, {"id": recipe_id, "holder": holder, "most": MAX_ATTEMPTS})

    async def has_given_up(self, recipe_id: UUID) -> bool:
        """Return whether a photo has no attempts left."""
        async with session(self._engine) as opened:
            connection = await opened.connection()
            return await connection.scalar(_STATE, {"id": recipe_id, "most": MAX_ATTEMPTS}) is False

    async def allow_retry(self, recipe_id: UUID) -> None:
        """Reset the attempts of a photo that was given up."""
        await self._run(_RETRY, {"id": recipe_id, "most": MAX_ATTEMPTS})

    async def record(self, recipe_id: UUID, *, sizes: list[int], placeholder: str, width: int, height: int) -> bool:
        """Record the renditions of a photo in its row. Return whether the row exists.

        Args:
            recipe_id: The recipe.
            sizes: The longest sides of the renditions in pixels.
            placeholder: The ThumbHash in base64.
            width: The photo's width in pixels, as displayed. A width that the row already has is kept.
            height: The photo's height, likewise.
        """
        values = {"id": recipe_id, "sizes": sizes, "placeholder": placeholder, "width": width, "height": height}
        async with session(self._engine) as opened:
            connection = await opened.connection()
            recorded = await connection.execute(_RECORD, values)
            await connection.execute(_DONE, {"id": recipe_id})
            await opened.commit()
        return recorded.rowcount > 0

    async def _run(self, statement: TextClause, values: dict[str, object]) -> None:
        async with session(self._engine) as opened:
            await (await opened.connection()).execute(statement, values)
            await opened.commit()
