"""What the service asks of an object store: eight calls to write one object, five to look after all of them.

`S3Store` keeps these promises over the network. Whoever writes another one has to keep them too:

- A write never replaces an object that is there (`If-None-Match: *`).
- An object is there whole or not at all; the parts of a multipart upload are no object before it is completed.
- Every failure is a `StorageUnavailable` or a cancellation; after either, the call may or may not have happened.
- `delete`, `abort_upload` and `abort_uploads` succeed when there is nothing to delete or abort.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from recipe_api.storage.body import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is stored with an object's bytes and answered with them."""

    content_type: str
    content_disposition: str
    cache_control: str = "public, max-age=31536000, immutable"
    """A key is never written twice, so what it answers may be kept for a year (RFC 8246)."""
    metadata: dict[str, str] = field(default_factory=dict)
    """ASCII names and values, sent as `x-amz-meta-…`."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that has begun and is neither completed nor aborted."""

    key: str
    upload_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the store has acknowledged."""

    number: int
    etag: str
    checksum: str | None = None
    """The part's CRC-32 in base64, where checksums are in use."""


class ObjectStore(Protocol):
    """One bucket of an S3-like store. Entity tags are given without their quotes."""

    async def put(self, key: str, body: Body, attributes: Attributes) -> str:
        """Writes a whole object; answers its entity tag."""
        ...

    async def create_upload(self, key: str, attributes: Attributes) -> Upload:
        """Begins a multipart upload."""
        ...

    async def put_part(self, upload: Upload, number: int, body: Body) -> Part:
        """Sends part `number` (from 1); all but the last have the same size, of 5 MiB at least."""
        ...

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        """Makes the parts, in order of their numbers, into the object; answers its entity tag."""
        ...

    async def abort_upload(self, upload: Upload) -> None:
        """Ends a multipart upload and frees its parts."""
        ...

    async def abort_uploads(self, key: str, *, but: Upload | None = None) -> None:
        """Ends every multipart upload of `key`, also one of whose beginning nobody was told; `but` goes on."""
        ...

    async def delete(self, key: str) -> None:
        """Deletes an object."""
        ...

    async def check(self) -> None:
        """Returns when the bucket answers."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing names it."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """A multipart upload that is neither completed nor aborted, as a listing names it."""

    key: str
    upload_id: str
    begun: datetime


class Inventory(Protocol):
    """The same bucket as a whole, in pages that are fetched as they are asked for."""

    def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        """The objects under `prefix` whose keys are greater than `after` and less than `until`, in order of bytes."""
        ...

    def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        """The multipart uploads under `prefix` that are going on, or were left."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether an object is there, surely: a failure to learn it is no answer."""
        ...

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Deletes up to 1,000 objects."""
        ...

    async def abort(self, upload: ListedUpload) -> None:
        """Ends a multipart upload and frees its parts; fine if it has ended."""
        ...
