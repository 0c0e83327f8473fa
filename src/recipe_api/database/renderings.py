"""Claims on photos whose renditions are to be made, and how often that was attempted.

An attempt is counted before it begins, so that a photo that kills its decoder, or the whole process, is counted all the
same. After `MAX_ATTEMPTS` it is given up. A claim is a lease in the photo's row: it expires by itself, and holds no
connection. It names its holder, so that an attempt that does not know whether it was claimed, or that was suspended for
longer than its claim lasts, changes no other one. A success deletes the row. All times are those of the database.
"""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.session import session

MAX_ATTEMPTS = 3
CLAIM_SECONDS = 120
"""How long a claim lasts: longer than an attempt may take."""

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
    """What became of an attempt to claim a photo."""

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
        """Claim a photo for this holder, and count the attempt. A photo without a row in `recipe` is given up."""
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
        """End an attempt that did not succeed, and its claim. Without a claim of this holder, nothing happens.

        Args:
            recipe_id: The recipe.
            holder: The holder of the claim.
            counts: Whether the attempt counts. It does unless something else than the photo made it fail.
        """
        await self._run(_END, {"id": recipe_id, "holder": holder, "uncounted": 0 if counts else 1})

    async def give_up(self, recipe_id: UUID, holder: UUID) -> None:
        """Record that a photo can never be rendered, and end the claim of this holder."""
        await self._run(_GIVE_UP, {"id": recipe_id, "holder": holder, "most": MAX_ATTEMPTS})

    async def allow_retry(self, recipe_id: UUID) -> None:
        """Permit new attempts at a photo that was given up."""
        await self._run(_RETRY, {"id": recipe_id, "most": MAX_ATTEMPTS})

    async def record(self, recipe_id: UUID, *, sizes: list[int], placeholder: str, width: int, height: int) -> bool:
        """Record the renditions of a photo in its row. Return whether the row exists.

        Args:
            recipe_id: The recipe.
            sizes: The longest sides of the renditions in pixels.
            placeholder: The ThumbHash in base64.
            width: The photo's width in pixels, as displayed; kept if the row already has one.
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
