"""Staged uploads: photos that clients upload directly to the object store, in pieces, and then turn into a recipe.

A client announces a photo and gets a presigned URL for each piece. It may send the pieces in any order, and again after
a lost connection. Completing the upload reads the pieces in order through the same pipeline as a form. So the recipe's
object is a new one, made from the verified bytes, even if the client replaces pieces before or after completion.

Completion uses the mechanism of idempotency keys, with the id of the upload as the key: one request at a time completes
an upload, a repeated request gets the same recipe, and the row is inserted only while the claim is held.

When an upload ends, its pieces are deleted at once. Clients can write them again until the last presigned URL has
expired, so their deletion stays pending until then, and the upload counts against its owner's limit.
"""

import re
import secrets
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

from recipe_api.database.completions import Completion
from recipe_api.database.deletions import ObjectRef
from recipe_api.database.models import NewStagedUpload, StagedUpload
from recipe_api.database.staged_uploads import StagedUploads
from recipe_api.errors import (
    DatabaseUnavailable,
    FileTooLarge,
    InvalidField,
    PhotoMalformed,
    UnsupportedFile,
    UploadExpired,
    UploadIncomplete,
    UploadNotFound,
)
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, ObjectStore
from recipe_api.undo import Undo
from recipe_api.units import size_in_words
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.idempotency import UploadKey
from recipe_api.uploads.piece_reader import read_pieces
from recipe_api.uploads.pieces import (
    PIECE_BYTES,
    URL_SECONDS,
    Piece,
    arrived,
    is_of_unknown_size,
    piece_refs,
    pieces_of,
    single_piece,
)
from recipe_api.uploads.service import Created, Uploads
from recipe_api.uploads.staged_source import OpenedUpload, StagedSource

ID_BYTES = 16
"""128 bits, because the id is a secret."""
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_SHOWN_NUMBERS = 20
_REJECTED_PHOTO = (UnsupportedFile, PhotoMalformed, FileTooLarge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A photo as the client announces it."""

    filename: str
    size: int | None
    """The size of the photo in bytes; None if the client did not declare it."""
    label: str | None
    found_by_key: bool = False
    """Whether the client completes the upload by the key of a piece, because it does not know the id."""


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
        self.max_bytes = max_bytes

    async def begin(self, announcement: Announcement, *, owner: str) -> StagedState:
        """Start an upload.

        Raises:
            RequestRefused: The label or the size is invalid.
            QuotaExceeded: The upload exceeds a quota of its owner.
            TooManyUnfinishedUploads: The owner has too many open uploads.
        """
        upload = self.draft(announcement, owner=owner, piece_size=PIECE_BYTES)
        targets = await self._targets(upload, have=set())  # first, so that a failure leaves no row that counts
        return StagedState(await self.add(upload), targets)

    async def add(self, upload: NewStagedUpload) -> StagedUpload:
        """Insert an upload, which counts towards the quotas of its owner from now on, whatever becomes of it.

        If its size is unknown, it counts with the maximum.

        Raises:
            QuotaExceeded: It exceeds a quota of its owner.
            TooManyUnfinishedUploads: The owner has too many open uploads.
        """
        size = self.max_bytes if upload.size is None else upload.size
        with self._uploads.usage.upload(upload.owner, size=size) as count:
            return await self._staged_uploads.add(upload, count.charge())

    def draft(self, announcement: Announcement, *, owner: str, piece_size: int | None) -> NewStagedUpload:
        """Return a new upload, which is not in the table yet.

        Raises:
            RequestRefused: The label or the size is invalid.
        """
        if announcement.size is not None:
            self._check_size(announcement.size)
        created_at = keys.now()
        return NewStagedUpload(
            id=secrets.token_urlsafe(ID_BYTES),
            owner=owner,
            stem=keys.new_staged_stem(created_at, prefix=self._prefix),
            filename=announcement.filename,
            size=announcement.size,
            piece_size=piece_size,
            label=None if announcement.label is None else self._policy.check_label(announcement.label),
            found_by_key=announcement.found_by_key,
            bucket=self._deletions.bucket.url,
            created_at=created_at,
        )

    async def begin_appended(
        self, *, filename: str, size: int | None, label: str | None, upload_metadata: str | None, owner: str
    ) -> StagedUpload:
        """Start an upload to which the client appends bytes.

        Args:
            filename: The name of the file.
            size: The size of the photo in bytes; None if the client declares it later.
            label: The label; None if it is sent when the upload is completed.
            upload_metadata: What the client gets back unchanged.
            owner: The caller whose limits the upload counts against.

        Raises:
            RequestRefused: The label or the size is invalid.
            QuotaExceeded: The upload exceeds a quota of its owner.
            TooManyUnfinishedUploads: The owner has too many open uploads.
        """
        announcement = Announcement(filename=filename, size=size, label=label)
        upload = self.draft(announcement, owner=owner, piece_size=None)
        upload.piece_sizes, upload.piece_claims, upload.upload_metadata = [], [], upload_metadata
        return await self.add(upload)

    async def get(self, upload_id: str, *, client: ClientContext) -> StagedState:
        """Return an upload, with new URLs for the pieces that have not arrived.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
            TooManyRequests, ServiceFull: Too many requests are in progress. This one would list objects in the bucket.
        """
        with self._uploads.slot(client):
            upload = await self.find(upload_id)
            return StagedState(upload, await self._targets(upload, have=await arrived(self._inventory, upload)))

    async def delete(self, upload_id: str) -> None:
        """Delete an upload and its pieces.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
        """
        await self.find(upload_id)
        await self._end(upload_id)

    async def discard(self, upload_id: str) -> None:
        """Delete an upload whose id no client knows, even if the caller is cancelled."""
        await self._undo.run(self._end(upload_id), what="discarding a staged upload")

    async def complete(
        self, upload: str, *, label: str | None, client: ClientContext, until: float | None = None
    ) -> Created:
        """Make a recipe from an upload, or return the recipe that was already made from it.

        Args:
            upload: The id of the upload, or the key of a piece if it was announced with `found_by_key`.
            label: The label; by default, that of the announcement.
            client: The client that completes it.
            until: When the response is due, in the event loop's time; by default, the deadline of `StagedSource`.

        Raises:
            UploadNotFound: No upload has this id.
            UploadExpired: It has expired.
            UploadIncomplete: Pieces are missing.
            UploadInProgress: Another request is completing it.
            RecipeNotFound: It was completed, and the recipe has been deleted.
            RequestRefused: The photo or the label is invalid. If the photo is, the upload has been deleted.
        """
        upload_id = await self._id_of(upload)
        completion = self._staged_uploads.completion(pieces_of=self._pieces_of)
        open_upload = partial(self._open, completion)
        staged_source = StagedSource(open_upload, label=label, check_label=self._policy.check_label, deadline=until)
        async with aclosing(staged_source) as source:
            try:
                key = UploadKey("", upload_id)
                created = await self._uploads.create(source, key=key, claims=completion, client=client)
            except _REJECTED_PHOTO:
                await self._end_if_possible(upload_id)
                raise
        if completion.upload is not None:  # otherwise an earlier request has completed it
            await self._delete_pieces(completion.upload)
        return created

    async def find(self, upload_id: str) -> StagedUpload:
        """Return an open upload.

        Raises:
            UploadNotFound: No upload has this id, or it has ended.
            UploadExpired: It has expired, or its pieces are in another bucket.
        """
        check_id(upload_id)
        return self.in_this_bucket(await self._staged_uploads.get(upload_id))

    def in_this_bucket(self, upload: StagedUpload) -> StagedUpload:
        """Return the upload if its pieces are in the bucket of this service.

        Raises:
            UploadExpired: They are in another bucket.
        """
        if upload.bucket not in {None, self._deletions.bucket.url}:
            raise UploadExpired("The service stores photos in another bucket now. Start a new upload.")
        return upload

    async def _id_of(self, upload: str) -> str:
        stem = keys.piece_stem(upload, prefix=self._prefix)
        if stem is not None:
            return await self._staged_uploads.id_of(stem)
        check_id(upload)
        return upload

    async def _open(self, completion: Completion) -> OpenedUpload:
        assert completion.upload is not None  # noqa: S101 - the pipeline claims an upload before it reads it
        upload = self.in_this_bucket(completion.upload)
        pieces = await self._single(upload) if is_of_unknown_size(upload) else await self._all(upload)
        self._check_size(sum(piece.size for piece in pieces))  # the limit may have been lowered since
        return OpenedUpload(upload, read_pieces(self._store, pieces))

    async def _single(self, upload: StagedUpload) -> Sequence[Piece]:
        piece = await single_piece(self._inventory, upload)
        if piece is None:
            raise UploadIncomplete("Send the photo first.", field="upload")
        return [piece]

    async def _all(self, upload: StagedUpload) -> Sequence[Piece]:
        received = None if upload.piece_sizes is None else sum(upload.piece_sizes)
        if received is not None and received != upload.size:
            arrived_bytes = f"{received} of {upload.size} bytes have arrived. Append the rest first."
            if upload.size is None:
                arrived_bytes = f"{received} bytes have arrived. Append the rest first, and declare Upload-Length."
            raise UploadIncomplete(arrived_bytes, field="upload")
        pieces = pieces_of(upload)
        have = await arrived(self._inventory, upload)
        if missing := [piece.number for piece in pieces if piece.number not in have]:
            raise UploadIncomplete(f"Send the missing pieces first: {_listed(missing)}.", field="upload")
        return pieces

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

    async def _end_if_possible(self, upload_id: str) -> None:
        """End an upload that was rejected. If the database is unavailable, it expires instead."""
        with suppress(DatabaseUnavailable):  # already logged; the outcome of the upload does not depend on it
            await self._end(upload_id)

    async def _end(self, upload_id: str) -> None:
        upload = await self._staged_uploads.end(upload_id, pieces_of=self._pieces_of)
        if upload is not None:
            await self._delete_pieces(upload)

    async def _delete_pieces(self, upload: StagedUpload) -> None:
        """Delete the pieces of an upload that has ended."""
        is_writable = upload.piece_sizes is None
        delete = self._deletions.delete_for_now if is_writable else self._deletions.delete_now
        await self._undo.run(delete(self._pieces_of(upload)), what="deleting the pieces of an upload")

    def _pieces_of(self, upload: StagedUpload) -> Sequence[ObjectRef]:
        return piece_refs(upload, bucket=self._deletions.bucket)

    def _check_size(self, size: int) -> None:
        if size < 1:
            raise InvalidField("size: The photo is empty.", field="size")
        if size > self.max_bytes:
            raise FileTooLarge(
                f"A photo in pieces may have at most {size_in_words(self.max_bytes)}. Send a smaller one.",
                field="size",
            )


def check_id(upload_id: str) -> None:
    """Check that an id is well-formed.

    Raises:
        UploadNotFound: It is malformed.
    """
    if not _ID.fullmatch(upload_id):
        raise UploadNotFound("There is no such upload. The id of an upload has 22 characters of base64url.")


def _listed(numbers: Sequence[int]) -> str:
    """Return a list of the first numbers and the count of the others."""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN_NUMBERS])
    rest = len(numbers) - _SHOWN_NUMBERS
    return f"{shown} and {rest} more" if rest > 0 else shown
