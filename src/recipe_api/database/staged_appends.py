"""Claims on staged uploads that clients append to, and the record of the pieces that were received.

One request at a time may append to an upload. Its claim lasts for `CLAIM_SECONDS` unless it is renewed, and holds no
connection in between. Every UPDATE requires the claim, so only its holder can change the upload. A request that wants
the claim asks the holder to release it; the holder sees this when it renews the claim. All times are those of the
database.
"""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import or_, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, update

from recipe_api.database.models import StagedUpload
from recipe_api.database.session import session, translate_commit_errors
from recipe_api.errors import CommitInDoubt, DatabaseUnavailable

CLAIM_SECONDS = 15
"""How long others wait for a process that has died. A holder that cannot renew its claim for that long may lose it, and
with it the bytes that it has not recorded yet."""

_NOW = text("now()")
_UNTIL = text(f"now() + interval '{CLAIM_SECONDS:d} seconds'")
_IS_OPEN = "id = :id AND ended_at IS NULL AND recipe_id IS NULL"
_IS_CLAIMED = text(f"SELECT 1 FROM staged_upload WHERE {_IS_OPEN} AND claimed_until > now()")  # noqa: S608 - contains no input
_REQUEST_RELEASE = text(
    f"""
    UPDATE staged_upload SET release_requested_at = now()
    WHERE {_IS_OPEN} AND claimed_until > now() AND release_requested_at IS NULL
    """  # noqa: S608 - contains no input
)
_RENEW = text(
    f"""
    UPDATE staged_upload SET claimed_until = {_UNTIL} WHERE {_IS_OPEN} AND claim = :claim
    RETURNING release_requested_at IS NOT NULL
    """  # noqa: S608 - contains no input
)
_RELEASE = text("UPDATE staged_upload SET claim = NULL, claimed_until = NULL WHERE id = :id AND claim = :claim")
_DECLARE_SIZE = text("UPDATE staged_upload SET size = :size WHERE id = :id AND claim = :claim AND size IS NULL")
_RECORD = text(
    f"""
    UPDATE staged_upload
    SET piece_sizes = piece_sizes || CAST(:size AS integer), piece_claims = piece_claims || CAST(:claim AS uuid),
        claimed_until = {_UNTIL}
    WHERE {_IS_OPEN} AND claim = :claim AND cardinality(piece_sizes) = :before
    """  # noqa: S608 - contains no input
)
_IS_RECORDED = text("SELECT piece_claims[CAST(:before AS integer) + 1] = :claim FROM staged_upload WHERE id = :id")


class Renewal(StrEnum):
    """The result of renewing a claim."""

    HELD = "held"
    RELEASE_REQUESTED = "release requested"
    """The claim is held, and another request waits for it."""
    LOST = "lost"
    """Another request has claimed the upload, or the upload has ended."""


class StagedAppends:
    """The claims on uploads. Every method may raise `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, upload_id: str, claim: UUID) -> StagedUpload | None:
        """Claim an upload and return it, or ask the holder of its claim to release it and return None.

        The result is also None if the upload does not exist, has ended or has expired. A second call with the same
        claim succeeds.
        """
        statement = (
            update(StagedUpload)
            .where(
                col(StagedUpload.id) == upload_id,
                col(StagedUpload.expires_at) > _NOW,
                col(StagedUpload.ended_at).is_(None),
                col(StagedUpload.recipe_id).is_(None),
                or_(
                    col(StagedUpload.claim).is_(None),
                    col(StagedUpload.claim) == claim,
                    col(StagedUpload.claimed_until) < _NOW,
                ),
            )
            .values(claim=claim, claimed_until=_UNTIL, release_requested_at=None)
            .returning(StagedUpload)
        )
        async with session(self._engine) as opened:
            claimed: StagedUpload | None = (await opened.exec(statement)).scalar_one_or_none()
            if claimed is None:
                await (await opened.connection()).execute(_REQUEST_RELEASE, {"id": upload_id})
            with translate_commit_errors():
                await opened.commit()
        return claimed

    async def is_claimed(self, upload_id: str) -> bool:
        """Return whether an upload is claimed, and if so, ask the holder to release it."""
        async with session(self._engine) as opened:
            connection = await opened.connection()
            is_claimed = await connection.scalar(_IS_CLAIMED, {"id": upload_id}) is not None
            if is_claimed:
                await connection.execute(_REQUEST_RELEASE, {"id": upload_id})
                await opened.commit()
        return is_claimed

    async def renew(self, upload_id: str, claim: UUID) -> Renewal:
        """Extend a claim by `CLAIM_SECONDS` from now."""
        async with session(self._engine) as opened:
            requested = await (await opened.connection()).scalar(_RENEW, {"id": upload_id, "claim": claim})
            await opened.commit()
        if requested is None:
            return Renewal.LOST
        return Renewal.RELEASE_REQUESTED if requested else Renewal.HELD

    async def release(self, upload_id: str, claim: UUID) -> None:
        """Release a claim."""
        async with session(self._engine) as opened:
            await (await opened.connection()).execute(_RELEASE, {"id": upload_id, "claim": claim})
            await opened.commit()

    async def declare_size(self, upload_id: str, claim: UUID, size: int) -> None:
        """Record the size of an upload whose size was unknown."""
        async with session(self._engine) as opened:
            await (await opened.connection()).execute(_DECLARE_SIZE, {"id": upload_id, "claim": claim, "size": size})
            await opened.commit()

    async def record(self, upload_id: str, claim: UUID, *, before: int, size: int) -> bool:
        """Record that a piece was received. Return False if the claim was lost.

        Args:
            upload_id: The upload.
            claim: The claim under which the piece was written.
            before: The number of pieces before this one.
            size: The size of the piece in bytes.

        Raises:
            CommitInDoubt: It may have been recorded.
        """
        values = {"id": upload_id, "claim": claim, "before": before, "size": size}
        try:
            return await self._try_record(values)
        except CommitInDoubt:  # the second attempt recognizes what the first one has committed
            try:
                return await self._try_record(values)
            except DatabaseUnavailable as error:
                raise CommitInDoubt(error.detail) from error

    async def _try_record(self, values: dict[str, object]) -> bool:
        async with session(self._engine) as opened:
            connection = await opened.connection()
            recorded = (await connection.execute(_RECORD, values)).rowcount > 0
            if not recorded:
                recorded = bool(await connection.scalar(_IS_RECORDED, values))
            with translate_commit_errors():
                await opened.commit()
        return recorded
