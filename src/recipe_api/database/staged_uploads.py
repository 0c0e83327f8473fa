"""The table of staged uploads: their owners, what was announced, and when they expire.

For uploads that clients append to, it also records which pieces have arrived (`staged_appends`); for the others, the
object store's listing shows that. Expiry uses the database's clock.

The row of an upload that was completed, rejected or deleted stays until it would have expired, without what its client
sent. So the upload cannot become a second recipe, and it counts against its owner's limits as long as its presigned
URLs are valid. Each new upload removes a few rows that are no longer needed, so the table stays bounded.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, delete, select, update

from recipe_api.database import client_usage
from recipe_api.database.client_usage import Charge
from recipe_api.database.completions import Completion, check_is_open
from recipe_api.database.deletions import ObjectRef, request_deletion
from recipe_api.database.inserts import FORGOTTEN
from recipe_api.database.models import NewStagedUpload, StagedUpload
from recipe_api.database.session import session, translate_commit_errors
from recipe_api.errors import CommitInDoubt, TooManyUnfinishedUploads, UploadNotFound
from recipe_api.units import size_in_words

REMOVED_PER_UPLOAD = 4
"""The number of rows that a new upload may remove: more than one, so that a table that has grown shrinks again."""

_FROZEN_SECONDS = 5
"""How long the transaction of a new upload may wait for this process. It locks the owner's usage, so if the process
froze or its machine disappeared, the owner's next charge would wait, and with it the rows of other clients in the same
statement. The limit is lower than that of such a statement (`recipe_writer.STATEMENT_SECONDS`)."""
# The lock makes the counts exact. It is released when the transaction ends, so it works through a pooler.
_LOCK_OWNER = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(:owner, 0)),"
    f" set_config('idle_in_transaction_session_timeout', '{_FROZEN_SECONDS}s', true)"
)
TAKEN = text(
    """
    SELECT count(*) FILTER (WHERE ended_at IS NULL AND recipe_id IS NULL AND expires_at > now()),
        coalesce(sum(coalesce(size, :unknown)), 0)
    FROM staged_upload
    WHERE owner = :owner
        AND coalesce(ended_at, expires_at) > now() - :writable * interval '1 second'
        AND (ended_at IS NULL OR piece_sizes IS NULL)
        AND (piece_sizes IS NULL OR expires_at > now())
    """
)
"""The first three conditions match an index. A tus upload stops counting when it ends or expires. Other uploads count
until their presigned URLs have expired."""
_EXPIRY = text("SELECT now() + :seconds * interval '1 second'")
_NOW = text("SELECT now()")
_KNOWN = text(
    """
    SELECT stem FROM staged_upload
    WHERE stem = ANY(:stems) AND NOT (piece_sizes IS NOT NULL AND ended_at IS NOT NULL)
    """
)
_DELETE_ENDED = text(
    """
    DELETE FROM staged_upload WHERE id IN (
        SELECT id FROM staged_upload
        WHERE ended_at IS NOT NULL AND expires_at < now() - :writable * interval '1 second'
        ORDER BY expires_at
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingLimits:
    """The limits of staged uploads."""

    lifetime_seconds: float
    """How long an upload may take."""
    max_uploads: int
    """Maximum number of open uploads of one owner."""
    max_bytes: int
    """Maximum total size of the uploads of one owner whose pieces can still be written."""
    writable_seconds: float
    """How long presigned URLs can still write pieces after their upload has ended or expired."""
    max_upload_bytes: int
    """Maximum size of one upload. An upload of unknown size counts as this large."""


class StagedUploads:
    """The table of staged uploads. Every method may raise `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine, *, limits: StagingLimits) -> None:
        self._engine = engine
        self._limits = limits

    async def add(self, new: NewStagedUpload, charge: Charge | None = None) -> StagedUpload:
        """Insert an upload and return its row.

        Args:
            new: The upload.
            charge: What to add to the owner's usage in the same commit, if anything.

        Raises:
            TooManyUnfinishedUploads: Its owner has too many open uploads, or their total size is too large.
        """
        try:
            return await self._add(new, charge)
        except CommitInDoubt:
            with suppress(UploadNotFound):
                return await self.get(new.id)
            raise

    async def _add(self, new: NewStagedUpload, charge: Charge | None) -> StagedUpload:
        async with session(self._engine) as opened:
            connection = await opened.connection()
            await connection.execute(_LOCK_OWNER, {"owner": new.owner})
            unknown, writable = self._limits.max_upload_bytes, self._limits.writable_seconds
            taken = {"owner": new.owner, "unknown": unknown, "writable": writable}
            count, size = (await connection.execute(TAKEN, taken)).one()
            self._check_limits(count=count + 1, size=size + (unknown if new.size is None else new.size))
            expires_at = await connection.scalar(_EXPIRY, {"seconds": self._limits.lifetime_seconds})
            await connection.execute(_DELETE_ENDED, {"writable": writable, "limit": REMOVED_PER_UPLOAD})
            upload = StagedUpload(**new.model_dump(), expires_at=expires_at)
            opened.add(upload)
            await opened.flush()
            if charge is not None:
                await client_usage.add(connection, charge)
            with translate_commit_errors():
                await opened.commit()
        return upload

    def _check_limits(self, *, count: int, size: int) -> None:
        if count > self._limits.max_uploads:
            raise TooManyUnfinishedUploads(
                f"One client may have {self._limits.max_uploads} unfinished uploads. Complete or delete one first."
            )
        if size > self._limits.max_bytes:
            raise TooManyUnfinishedUploads(
                f"The uploads of one client may have {size_in_words(self._limits.max_bytes)} in total. An upload "
                f"counts until its URLs have expired, {self._limits.writable_seconds / 60:.0f} minutes after its end."
            )

    def completion(self, *, pieces_of: Callable[[StagedUpload], Sequence[ObjectRef]]) -> Completion:
        """Return the claim of a request that completes an upload.

        Args:
            pieces_of: Returns the objects of all pieces that an upload may have.
        """
        return Completion(self._engine, pieces_of=pieces_of, writable_seconds=self._limits.writable_seconds)

    async def get(self, upload_id: str) -> StagedUpload:
        """Return an open upload.

        Raises:
            UploadNotFound: No upload has this id, or it has ended.
            UploadExpired: It has expired.
        """
        async with session(self._engine) as opened:
            upload = await opened.get(StagedUpload, upload_id)
            now: datetime = await (await opened.connection()).scalar(_NOW)
        return check_is_open(upload, now=now)

    async def find_completed(self, upload_id: str) -> StagedUpload | None:
        """Return an upload from which a recipe was made; None if there is none with this id."""
        statement = select(StagedUpload).where(
            col(StagedUpload.id) == upload_id, col(StagedUpload.recipe_id).is_not(None)
        )
        async with session(self._engine) as opened:
            return (await opened.exec(statement)).one_or_none()

    async def id_of(self, stem: str) -> str:
        """Return the id of the upload whose pieces' keys begin with `stem`.

        Raises:
            UploadNotFound: There is no such upload, or it can only be found by its id.
        """
        is_named = (col(StagedUpload.stem) == stem, col(StagedUpload.found_by_key).is_not(False))
        async with session(self._engine) as opened:
            found = (await opened.exec(select(StagedUpload.id).where(*is_named))).one_or_none()
        if found is None:
            raise UploadNotFound("There is no upload with this key; it may have expired.")
        return found

    async def end(
        self, upload_id: str, *, pieces_of: Callable[[StagedUpload], Sequence[ObjectRef]]
    ) -> StagedUpload | None:
        """End an upload and return its row. If it does not exist, or has ended already, nothing changes.

        In the same commit, the deletion of the pieces becomes pending. If clients write the pieces, it is due when they
        no longer can.

        Args:
            upload_id: The upload.
            pieces_of: Returns the objects of all pieces that an upload may have.
        """
        is_open = (col(StagedUpload.id) == upload_id, col(StagedUpload.ended_at).is_(None))
        statement = update(StagedUpload).where(*is_open).values(ended_at=func.now(), **FORGOTTEN)
        async with session(self._engine) as opened:
            upload: StagedUpload | None = (await opened.exec(statement.returning(StagedUpload))).scalar_one_or_none()
            if upload is None:
                return None
            if refs := pieces_of(upload):
                is_writable = upload.piece_sizes is None
                writable_seconds = self._limits.writable_seconds if is_writable else 0
                await request_deletion(opened, refs, writable_seconds=writable_seconds)
            await opened.commit()
        return upload

    async def remove(
        self, upload_id: str, *, pieces_of: Callable[[StagedUpload], Sequence[ObjectRef]]
    ) -> Sequence[ObjectRef]:
        """Delete an expired upload and return its pieces, whose deletion becomes pending in the same commit.

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
        """Return up to `limit` expired uploads whose stems sort after `after`, in order.

        Those whose pieces can still be written are left out.
        """
        stem = col(StagedUpload.stem)
        due = func.now() - text(f"interval '{self._limits.writable_seconds:g} seconds'")
        statement = select(StagedUpload).where(
            stem > after, col(StagedUpload.expires_at) <= due, col(StagedUpload.ended_at).is_(None)
        )
        statement = statement.order_by(stem).limit(limit)
        async with session(self._engine) as opened:
            return (await opened.exec(statement)).all()

    async def known_stems(self, stems: Sequence[str]) -> set[str]:
        """Return the stems of uploads that may have pieces.

        Clients may write pieces as long as their URLs are valid. If the service writes the pieces, an upload that has
        ended gets no more of them. A piece that is left then was never recorded, because its writer died.
        """
        async with session(self._engine) as opened:
            return set((await (await opened.connection()).scalars(_KNOWN, {"stems": list(stems)})).all())

    async def delete_ended(self) -> None:
        """Delete the uploads that have ended and would have expired by now."""
        async with session(self._engine) as opened:
            values = {"writable": self._limits.writable_seconds, "limit": None}
            await (await opened.connection()).execute(_DELETE_ENDED, values)
            await opened.commit()
