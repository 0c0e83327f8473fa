"""Claims on staged uploads: one request at a time may append to an upload or complete it.

The claims of completions work like those on idempotency keys: a claim lasts for a minute unless it is renewed, and the
statement that inserts the recipe also completes and ends the upload, provided that the claim is still valid. An upload
that has ended, or was completed, cannot be claimed again, so that it never becomes a second recipe. All times are those
of the database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import TextClause, UpdateBase, func, or_, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, update

from recipe_api.database.deletions import ObjectRef, request_values
from recipe_api.database.idempotency import CLAIM_SECONDS, Claim, Done
from recipe_api.database.models import StagedUpload
from recipe_api.database.session import session, translate_commit_errors
from recipe_api.errors import CommitInDoubt, UploadExpired, UploadInProgress, UploadNotFound

_RENEW = text(
    """
    UPDATE staged_upload SET claimed_until = now() + :lasts * interval '1 second'
    WHERE id = :id AND claim = :claim AND recipe_id IS NULL
    """
)
_RELEASE = text(
    "UPDATE staged_upload SET claim = NULL, claimed_until = NULL"
    " WHERE id = :id AND claim = :claim AND recipe_id IS NULL"
)
_NOW = text("SELECT now()")


@dataclass(frozen=True, slots=True)
class Completed:
    """A claim, which completes and ends its upload together with inserting the recipe."""

    claim: Claim
    pieces: Sequence[ObjectRef]
    """The pieces, whose deletion becomes pending."""
    writable_seconds: float
    """How long clients may still write the pieces."""

    def values(self) -> dict[str, object]:
        """Return the JSON values that the statement needs in addition to the recipe."""
        requested = request_values(self.pieces, writable_seconds=self.writable_seconds)
        return {"upload_id": self.claim.key, "upload_claim": self.claim.id, **requested}


class Completion:
    """The claim of one request on a staged upload. Every method may raise `DatabaseUnavailable`.

    The ids of uploads are unique, so the scope of a claim is not used.

    Args:
        engine: The database.
        pieces_of: Returns the objects of all pieces that an upload may have.
        writable_seconds: How long after the end of an upload its presigned URLs are valid.
    """

    compares_uploads = False  # an id belongs to one upload

    def __init__(
        self, engine: AsyncEngine, *, pieces_of: Callable[[StagedUpload], Sequence[ObjectRef]], writable_seconds: float
    ) -> None:
        self._engine = engine
        self._pieces_of = pieces_of
        self._writable_seconds = writable_seconds
        self.upload: StagedUpload | None = None
        """The upload, once it was claimed."""

    async def claim(self, scope: str, key: str) -> Claim | Done:
        """Claim an upload, or return its result if it was completed.

        Raises:
            UploadNotFound: No upload has this id, or it has ended without a recipe.
            UploadExpired: It has expired.
            UploadInProgress: Another request has claimed it.
        """
        claim = Claim(scope, key, uuid4())
        try:
            return await self._try_claim(claim)
        except CommitInDoubt:  # the second attempt recognizes a claim that the first one has committed
            return await self._try_claim(claim)

    async def _try_claim(self, claim: Claim) -> Claim | Done:
        async with session(self._engine) as opened:
            self.upload = (await opened.exec(_claim(claim))).scalar_one_or_none()
            if self.upload is not None:
                with translate_commit_errors():
                    await opened.commit()
                return claim
            upload = await opened.get(StagedUpload, claim.key)
            now = await (await opened.connection()).scalar(_NOW)
        if upload is not None and upload.recipe_id is not None:
            return Done(b"", upload.recipe_id)
        check_is_open(upload, now=now)
        raise UploadInProgress("Another request is completing this upload. Try again in a moment.")

    async def renew(self, claim: Claim) -> None:
        """Extend a claim by `CLAIM_SECONDS` from now."""
        await self._run(_RENEW, claim)

    async def release(self, claim: Claim) -> None:
        """Release a claim without completing the upload."""
        await self._run(_RELEASE, claim)

    def finished(self, claim: Claim, fingerprint: bytes) -> Completed:  # noqa: ARG002 - its bytes do not identify it
        """Return what completes the upload, to be written together with the row."""
        assert self.upload is not None  # noqa: S101 - it was claimed
        is_writable = self.upload.piece_sizes is None
        return Completed(claim, self._pieces_of(self.upload), self._writable_seconds if is_writable else 0)

    async def _run(self, statement: TextClause, claim: Claim) -> None:
        async with session(self._engine) as opened:
            await (await opened.connection()).execute(statement, _values(claim))
            await opened.commit()


def _claim(claim: Claim) -> UpdateBase:
    """Return the statement that claims an upload and returns its row."""
    until = func.now() + text(f"interval '{CLAIM_SECONDS:g} seconds'")
    is_open = (
        col(StagedUpload.recipe_id).is_(None),
        col(StagedUpload.ended_at).is_(None),
        col(StagedUpload.expires_at) > func.now(),
    )
    is_free = or_(
        col(StagedUpload.claim).is_(None),
        col(StagedUpload.claim) == claim.id,
        col(StagedUpload.claimed_until) < func.now(),
    )
    statement = update(StagedUpload).where(col(StagedUpload.id) == claim.key, *is_open, is_free)
    statement = statement.values(claim=claim.id, claimed_until=until, release_requested_at=None)
    return statement.returning(StagedUpload)


def _values(claim: Claim) -> dict[str, str | UUID | int]:
    return {"id": claim.key, "claim": claim.id, "lasts": CLAIM_SECONDS}


def check_is_open(upload: StagedUpload | None, *, now: datetime) -> StagedUpload:
    """Return the upload if it can be continued.

    Raises:
        UploadNotFound: It does not exist, or it has ended.
        UploadExpired: It has expired.
    """
    if upload is None or upload.ended_at is not None or upload.recipe_id is not None:
        raise UploadNotFound("There is no such upload; it may have been completed or deleted.")
    if upload.expires_at <= now:
        raise UploadExpired("This upload has expired. Start a new one.")
    return upload
