"""Staged uploads of clients that write to the object store as they would to S3, such as Uppy.

Such a client either sends the photo in one form, and its size may be unknown, or requests a URL for each part, sends
the parts, and lists those that have arrived before it resumes. Its parts are the pieces of the upload. The client
chooses the part size itself, and it chooses S3's minimum; the URLs must be signed for the same size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recipe_api.database.models import StagedUpload
from recipe_api.errors import FieldMissing, UploadIncomplete, UploadNotFound
from recipe_api.storage.protocol import Inventory, ObjectStore, PresignedPost
from recipe_api.units import MIB
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.pieces import URL_SECONDS, Piece, first_key, pieces_of
from recipe_api.uploads.service import Uploads
from recipe_api.uploads.staged import Announcement, Staging

PART_BYTES = 5 * MIB
"""The size of all parts except the last: the minimum for S3, which Uppy uses for photos of up to 50 GB."""


@dataclass(frozen=True, slots=True)
class ArrivedPart:
    """A part that has arrived."""

    number: int
    size: int
    etag: str


class StagedParts:
    """The operations on such uploads. Every method may raise `StorageUnavailable` or `DatabaseUnavailable`.

    Args:
        staging: The operations on all staged uploads.
        uploads: The upload pipeline, whose limits apply.
        store: The bucket.
        inventory: Lists the parts.
        max_bytes: The maximum size of a photo in bytes.
    """

    def __init__(
        self,
        staging: Staging,
        uploads: Uploads,
        *,
        store: ObjectStore,
        inventory: Inventory,
        max_bytes: int,
    ) -> None:
        self._staging = staging
        self._uploads = uploads
        self._store = store
        self._inventory = inventory
        self._max_bytes = max_bytes

    async def begin_form(self, announcement: Announcement, *, owner: str) -> PresignedPost:
        """Start an upload that the client sends with one form. If its size is unknown, it counts as the largest.

        Raises:
            RequestRefused: The label or the size is invalid.
            QuotaExceeded: The upload exceeds a quota of its owner.
            TooManyUnfinishedUploads: The owner has too many open uploads.
        """
        size = announcement.size
        upload = self._staging.draft(announcement, owner=owner, piece_size=size)
        sizes = range(1, self._max_bytes + 1) if size is None else range(size, size + 1)
        post = await self._store.presigned_post(first_key(upload), sizes, expires_seconds=URL_SECONDS)
        await self._staging.add(upload)
        return post

    async def begin(self, announcement: Announcement, *, owner: str) -> StagedUpload:
        """Start an upload that the client sends in parts of `PART_BYTES`.

        Raises:
            FieldMissing: The size is unknown. Without it, the sizes of the parts could not be limited.
            RequestRefused: The label or the size is invalid.
            QuotaExceeded: The upload exceeds a quota of its owner.
            TooManyUnfinishedUploads: The owner has too many open uploads.
        """
        if announcement.size is None:
            raise FieldMissing("Send the size of the file in its metadata, as `size`.", field="metadata.size")
        return await self._staging.add(self._staging.draft(announcement, owner=owner, piece_size=PART_BYTES))

    async def urls(self, upload_id: str, numbers: Sequence[int]) -> dict[int, str]:
        """Return presigned URLs for parts.

        Raises:
            UploadNotFound, UploadExpired: The upload does not exist, or has no such part.
        """
        upload = await self._staging.find(upload_id)
        if upload.piece_sizes is not None:  # a URL would outlive the upload, and what it wrote would count for nobody
            raise UploadNotFound("This is a tus upload. Append its bytes with PATCH.")
        pieces = pieces_of(upload)
        if unknown := [number for number in numbers if not 1 <= number <= len(pieces)]:
            raise UploadNotFound(
                f"The upload has no part {unknown[0]}: it has {len(pieces)} parts of {PART_BYTES} bytes. The size in "
                "the metadata must be that of the file, and getChunkSize must be the default."
            )
        return {number: await self._url(pieces[number - 1]) for number in numbers}

    async def arrived(self, upload_id: str, *, client: ClientContext) -> list[ArrivedPart]:
        """Return the parts that have arrived, in order.

        Raises:
            UploadNotFound, UploadExpired: The upload does not exist.
            TooManyRequests, ServiceFull: Too many requests are in progress. This one lists objects in the bucket.
        """
        with self._uploads.slot(client):
            return await self._arrived(await self._staging.find(upload_id))

    async def check_complete(self, upload_id: str, *, client: ClientContext) -> StagedUpload:
        """Return the upload if all parts have arrived.

        Raises:
            UploadNotFound, UploadExpired: The upload does not exist.
            UploadIncomplete: Parts are missing.
            TooManyRequests, ServiceFull: As for `arrived`.
        """
        with self._uploads.slot(client):
            upload = await self._staging.find(upload_id)
            missing = len(pieces_of(upload)) - len(await self._arrived(upload))
        if missing:
            raise UploadIncomplete(f"Parts that have not arrived: {missing}. Send them first.", field="upload")
        return upload

    async def _arrived(self, upload: StagedUpload) -> list[ArrivedPart]:
        pieces = {piece.key: piece for piece in pieces_of(upload)}
        return [
            ArrivedPart(piece.number, listed.size, listed.etag)
            async for listed in self._inventory.objects(prefix=f"{upload.stem}_", after=upload.stem, until=None)
            if (piece := pieces.get(listed.key)) and piece.size == listed.size
        ]

    async def _url(self, piece: Piece) -> str:
        return await self._store.presigned_put(piece.key, piece.size, expires_seconds=URL_SECONDS)
