"""Staged uploads: photos that clients upload directly to the object store, in pieces, and then turn into a recipe.

A client announces a photo and gets a presigned URL for each piece. It may send the pieces in any order, and again after
a lost connection. Completing the upload reads the pieces in order through the same pipeline as a form. So the recipe's
object is a new one, made from the verified bytes, even if the client replaces pieces before or after completion.

Completion uses the mechanism of idempotency keys, with the id of the upload as the key: one request at a time completes
an upload, a repeated request gets the same recipe, and the row is inserted only while the claim is held.
"""

import secrets
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

from recipe_api.database.models import NewStagedUpload, StagedUpload
from recipe_api.database.staged_uploads import StagedUploads
from recipe_api.errors import (
    DatabaseUnavailable,
    FileTooLarge,
    IdempotencyKeyInUse,
    InvalidField,
    PhotoMalformed,
    UnsupportedFile,
    UploadIncomplete,
    UploadInProgress,
)
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, ObjectStore
from recipe_api.undo import Undo
from recipe_api.units import size_in_words
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.idempotency import UploadKey
from recipe_api.uploads.pieces import PIECE_BYTES, Piece, arrived, piece_refs, pieces_of, read_pieces
from recipe_api.uploads.service import Created, Uploads
from recipe_api.uploads.staged_source import OpenedUpload, StagedSource

ID_BYTES = 16
"""128 bits, because the id is a secret."""
URL_SECONDS = 3600
"""How long a presigned URL is valid. `Staging.get` returns new ones."""

_SCOPE = "staged:upload"
"""The scope of completions' idempotency keys. It differs from all names of API tokens, which contain no colon."""
_SHOWN_NUMBERS = 20
_REJECTED_PHOTO = (UnsupportedFile, PhotoMalformed, FileTooLarge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A photo as the client announces it."""

    filename: str
    size: int
    """The size of the photo in bytes."""
    label: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A piece and the URL to upload it to."""

    piece: Piece
    url: str | None
    """The presigned URL for a PUT; None if the piece has arrived."""


@dataclass(frozen=True, slots=True)
class StagedState:
    """An upload and the state of its pieces."""

    upload: StagedUpload
    targets: Sequence[Target]


class Staging:
    """The operations on staged uploads. Every method may raise `StorageUnavailable` or `DatabaseUnavailable`.

    Args:
        uploads: The upload pipeline.
        staged_uploads: The table of staged uploads.
        store: The bucket.
        inventory: Lists the pieces.
        deletions: Deletes the pieces.
        undo: Runs cleanup to completion.
        prefix: The prefix of the keys of pieces.
        max_bytes: The maximum size of a photo in bytes.
    """

    def __init__(
        self,
        uploads: Uploads,
        staged_uploads: StagedUploads,
        *,
        store: ObjectStore,
        inventory: Inventory,
        deletions: Deletions,
        undo: Undo,
        prefix: str,
        max_bytes: int,
    ) -> None:
        self._uploads = uploads
        self._policy = uploads.policy
        self._staged_uploads = staged_uploads
        self._store = store
        self._inventory = inventory
        self._deletions = deletions
        self._undo = undo
        self._prefix = prefix
        self._max_bytes = max_bytes

    async def begin(self, announcement: Announcement, *, owner: str) -> StagedState:
        """Start an upload.

        Raises:
            RequestRefused: The label or the size is invalid.
            TooManyUnfinishedUploads: The owner has too many open uploads.
        """
        self._check_size(announcement.size)
        created_at = keys.now()
        upload = NewStagedUpload(
            id=secrets.token_urlsafe(ID_BYTES),
            owner=owner,
            stem=keys.new_staged_stem(created_at, prefix=self._prefix),
            filename=announcement.filename,
            size=announcement.size,
            piece_size=PIECE_BYTES,
            label=None if announcement.label is None else self._policy.check_label(announcement.label),
            created_at=created_at,
        )
        targets = await self._targets(upload, have=set())  # first, so that a failure leaves no row that counts
        return StagedState(await self._staged_uploads.add(upload), targets)

    async def get(self, upload_id: str) -> StagedState:
        """Return an upload, with new URLs for the pieces that have not arrived.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
        """
        upload = await self._staged_uploads.get(upload_id)
        return StagedState(upload, await self._targets(upload, have=await arrived(self._inventory, upload)))

    async def delete(self, upload_id: str) -> None:
        """Delete an upload and its pieces.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
        """
        await self._staged_uploads.get(upload_id)
        await self._discard(upload_id)

    async def complete(self, upload_id: str, *, label: str | None, client: ClientContext) -> Created:
        """Make a recipe from an upload, or return the recipe that was already made from it.

        Args:
            upload_id: The upload.
            label: The label; by default, that of the announcement.
            client: The client that completes it.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
            UploadIncomplete: Pieces are missing.
            UploadInProgress: Another request is completing it.
            RequestRefused: The photo or the label is invalid. If the photo is, the upload has been deleted.
        """
        open_upload = partial(self._open, upload_id)
        async with aclosing(StagedSource(open_upload, label=label, check_label=self._policy.check_label)) as source:
            try:
                created = await self._uploads.create(source, key=UploadKey(_SCOPE, upload_id), client=client)
            except IdempotencyKeyInUse as error:
                raise UploadInProgress("Another request is completing this upload. Try again in a moment.") from error
            except _REJECTED_PHOTO:
                await self._discard_if_possible(upload_id)
                raise
        await self._discard_if_possible(upload_id)
        return created

    async def _open(self, upload_id: str) -> OpenedUpload:
        upload = await self._staged_uploads.get(upload_id)
        if upload.size is None:
            raise UploadIncomplete("Declare the size of the photo first.", field="upload")
        self._check_size(upload.size)  # the limit may have been lowered since
        pieces = pieces_of(upload)
        have = await arrived(self._inventory, upload)
        if missing := [piece.number for piece in pieces if piece.number not in have]:
            raise UploadIncomplete(f"Send the missing pieces first: {_listed(missing)}.", field="upload")
        return OpenedUpload(upload, read_pieces(self._store, pieces))

    async def _targets(self, upload: NewStagedUpload, *, have: set[int]) -> list[Target]:
        return [
            Target(
                piece,
                None
                if piece.number in have
                else await self._store.presigned_put(piece.key, piece.size, expires_seconds=URL_SECONDS),
            )
            for piece in pieces_of(upload)
        ]

    async def _discard_if_possible(self, upload_id: str) -> None:
        """Delete an upload that is completed or rejected. If the database is unavailable, it expires instead."""
        with suppress(DatabaseUnavailable):  # already logged; the outcome of the upload does not depend on it
            await self._discard(upload_id)

    async def _discard(self, upload_id: str) -> None:
        try:
            refs = await self._staged_uploads.remove(
                upload_id, pieces_of=partial(piece_refs, bucket=self._deletions.bucket)
            )
        except BaseException:
            self._deletions.retry_soon()  # the deletions of the pieces may have become pending
            raise
        await self._undo.run(self._deletions.delete_now(refs), what="deleting the pieces of an upload")

    def _check_size(self, size: int) -> None:
        if size < 1:
            raise InvalidField("size: The photo is empty.", field="size")
        if size > self._max_bytes:
            raise FileTooLarge(
                f"A photo in pieces may have at most {size_in_words(self._max_bytes)}. Send a smaller one.",
                field="size",
            )


def _listed(numbers: Sequence[int]) -> str:
    """Return a list of the first numbers and the count of the others."""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN_NUMBERS])
    rest = len(numbers) - _SHOWN_NUMBERS
    return f"{shown} and {rest} more" if rest > 0 else shown
