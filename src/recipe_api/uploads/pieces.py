"""The pieces of a staged upload: complete, ordinary objects that are never public.

Announced pieces all have the same size, except for the last one; such a piece has arrived when an object of its size
exists. A photo of unknown size that a client writes to the object store is a single piece of any size. Pieces that the
service has received have any size, and the row of the upload records them.
"""

from dataclasses import dataclass

from recipe_api.database.deletions import ObjectRef
from recipe_api.database.models import NewStagedUpload, StagedUpload
from recipe_api.storage.addresses import object_url
from recipe_api.storage.keys import piece_key
from recipe_api.storage.protocol import Inventory
from recipe_api.units import MIB
from recipe_api.uploads.current_bucket import CurrentBucket

PIECE_BYTES = 8 * MIB
"""The most that a client has to send again after its connection was lost: a few seconds on a phone."""
URL_SECONDS = 3600
"""How long a presigned URL is valid. `Staging.get` returns new ones."""
WRITABLE_SECONDS = URL_SECONDS + 15 * 60
"""How long pieces can be written after their upload ended: a PUT that began before its URL expired may still run."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a photo."""

    number: int
    """From 1."""
    size: int
    key: str


def pieces_of(upload: NewStagedUpload) -> list[Piece]:
    """Return the pieces of an upload, in order: all that were announced, or those that were received so far."""
    if upload.size is not None and upload.piece_size is not None:
        return _announced(upload.stem, upload.size, upload.piece_size)
    received = zip(upload.piece_sizes or (), upload.piece_claims or (), strict=True)
    return [
        Piece(number, size, piece_key(upload.stem, number, claim=claim))
        for number, (size, claim) in enumerate(received, start=1)
    ]


def _announced(stem: str, size: int, piece_size: int) -> list[Piece]:
    return [
        Piece(number, min(piece_size, size - start), piece_key(stem, number))
        for number, start in enumerate(range(0, size, piece_size), start=1)
    ]


def piece_refs(upload: StagedUpload, *, bucket: CurrentBucket) -> list[ObjectRef]:
    """Return the objects that an upload may have. If its row names no bucket, they are in this one."""
    base_url, *_ = bucket.base_urls
    keys = [first_key(upload)] if is_of_unknown_size(upload) else [piece.key for piece in pieces_of(upload)]
    return [
        ObjectRef(key=key, bucket=upload.bucket or bucket.url, location=object_url(key, base_url=base_url))
        for key in keys
    ]


def first_key(upload: NewStagedUpload) -> str:
    """Return the key of the first piece of an upload whose client writes the pieces."""
    return piece_key(upload.stem, 1)


def is_of_unknown_size(upload: NewStagedUpload) -> bool:
    """Return whether the client writes the photo in one piece and has not declared its size."""
    return upload.size is None and upload.piece_sizes is None


async def single_piece(inventory: Inventory, upload: NewStagedUpload) -> Piece | None:
    """Return the only piece of an upload of unknown size, as it is now; None if it has not arrived."""
    async for listed in inventory.objects(prefix=f"{upload.stem}_", after=upload.stem, until=None):
        if listed.key == first_key(upload):
            return Piece(1, listed.size, listed.key)
    return None


async def arrived(inventory: Inventory, upload: StagedUpload) -> set[int]:
    """Return the numbers of the pieces that have arrived."""
    if upload.piece_sizes is not None:
        return set(range(1, len(upload.piece_sizes) + 1))
    sizes = {piece.key: piece.size for piece in pieces_of(upload)}
    found = {
        listed.key
        async for listed in inventory.objects(prefix=f"{upload.stem}_", after=upload.stem, until=None)
        if sizes.get(listed.key) == listed.size
    }
    return {piece.number for piece in pieces_of(upload) if piece.key in found}
