"""The table of staged uploads: their owners, what was announced, and when they expire.

It does not record which pieces have arrived; the object store's listing shows that. Expiry uses the database's clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, delete, select

from recipe_api.database.deletions import ObjectRef, request_deletion
from recipe_api.database.models import NewStagedUpload, StagedUpload
from recipe_api.database.session import session
from recipe_api.errors import TooManyUnfinishedUploads, UploadExpired, UploadNotFound
from recipe_api.units import size_in_words

# The lock makes the counts exact. It is released when the transaction ends, so it works through a pooler.
_LOCK_OWNER = text("SELECT pg_advisory_xact_lock(hashtextextended(:owner, 0))")
_TAKEN = text("SELECT count(*), coalesce(sum(size), 0) FROM staged_upload WHERE owner = :owner AND expires_at > now()")
_EXPIRY = text("SELECT now() + :seconds * interval '1 second'")
_NOW = text("SELECT now()")
_KNOWN = text("SELECT stem FROM staged_upload WHERE stem = ANY(:stems)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingLimits:
    """The limits of staged uploads."""

    lifetime_seconds: float
    """How long an upload may take."""
    max_uploads: int
    """Maximum number of open uploads of one owner."""
    max_bytes: int
    """Maximum total size of the open uploads of one owner."""


class StagedUploads:
    """The table of staged uploads. Every method may raise `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine, *, limits: StagingLimits) -> None:
        self._engine = engine
        self._limits = limits

    async def add(self, new: NewStagedUpload) -> StagedUpload:
        """Insert an upload and return its row.

        Raises:
            TooManyUnfinishedUploads: Its owner has too many open uploads, or their total size is too large.
        """
        async with session(self._engine) as opened:
            connection = await opened.connection()
            await connection.execute(_LOCK_OWNER, {"owner": new.owner})
            count, size = (await connection.execute(_TAKEN, {"owner": new.owner})).one()
            self._check_limits(count=count + 1, size=size + new.size)
            expires_at = await connection.scalar(_EXPIRY, {"seconds": self._limits.lifetime_seconds})
            upload = StagedUpload(**new.model_dump(), expires_at=expires_at)
            opened.add(upload)
            await opened.commit()
        return upload

    def _check_limits(self, *, count: int, size: int) -> None:
        if count > self._limits.max_uploads:
            raise TooManyUnfinishedUploads(
                f"One client may have {self._limits.max_uploads} unfinished uploads. Complete or delete one first."
            )
        if size > self._limits.max_bytes:
            raise TooManyUnfinishedUploads(
                f"The unfinished uploads of one client may have {size_in_words(self._limits.max_bytes)} in total. "
                "Complete or delete one first."
            )

    async def get(self, upload_id: str) -> StagedUpload:
        """Return an open upload.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
        """
        async with session(self._engine) as opened:
            upload = await opened.get(StagedUpload, upload_id)
            now: datetime = await (await opened.connection()).scalar(_NOW)
        if upload is None:
            raise UploadNotFound("There is no such upload; it may have been completed or deleted.")
        if upload.expires_at <= now:
            raise UploadExpired("This upload has expired. Start a new one.")
        return upload

    async def remove(
        self, upload_id: str, *, pieces_of: Callable[[StagedUpload], Sequence[ObjectRef]]
    ) -> Sequence[ObjectRef]:
        """Delete an upload and return its pieces, whose deletion becomes pending in the same commit.

        If no upload has this id, nothing is deleted, and the result is empty.

        Args:
            upload_id: The upload.
            pieces_of: Returns the objects of all pieces that an upload may have.
        """
        statement = delete(StagedUpload).where(col(StagedUpload.id) == upload_id).returning(StagedUpload)
        async with session(self._engine) as opened:
            upload: StagedUpload | None = (await opened.exec(statement)).scalar_one_or_none()
            if upload is None:
                return []
            refs = pieces_of(upload)
            await request_deletion(opened, refs)
            await opened.commit()
        return refs

    async def list_expired(self, *, after: str, limit: int) -> Sequence[StagedUpload]:
        """Return up to `limit` expired uploads whose stems sort after `after`, in order."""
        stem, expires_at = col(StagedUpload.stem), col(StagedUpload.expires_at)
        statement = select(StagedUpload).where(stem > after, expires_at <= text("now()")).order_by(stem).limit(limit)
        async with session(self._engine) as opened:
            return (await opened.exec(statement)).all()

    async def known_stems(self, stems: Sequence[str]) -> set[str]:
        """Return the stems that belong to an upload, expired or not."""
        async with session(self._engine) as opened:
            return set((await (await opened.connection()).scalars(_KNOWN, {"stems": list(stems)})).all())
