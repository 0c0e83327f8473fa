"""The interface of an object store: eleven operations on one object, five on the whole bucket.

`S3Store` and `S3Inventory` implement it. Every implementation guarantees:

- A write never replaces an existing object (`If-None-Match: *`).
- An object exists whole or not at all; the parts of a multipart upload become an object only when it is completed.
- Every failure is a `StorageUnavailable` or a cancellation; after either, the operation may have been performed.
- `delete`, `abort_upload` and `abort_uploads` succeed when there is nothing to delete or abort.
- If `put` or `create_upload` raises a `StorageUnavailable` whose `had_no_effect` is true, it left nothing behind.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from recipe_api.storage.body import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is stored with an object's bytes and sent with them."""

    content_type: str
    content_disposition: str
    cache_control: str = "no-cache"
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


@dataclass(frozen=True, slots=True)
class PresignedPost:
    """A form with which a client without credentials can write an object."""

    url: str
    fields: dict[str, str]
    """To be sent before the object, which is the last part of the form and has the name `file`."""


class ObjectStore(Protocol):
    """One bucket of an S3-like store. Entity tags have no quotes."""

    async def put(self, key: str, body: Body, attributes: Attributes) -> str:
        """Write a whole object and return its entity tag."""
        ...

    async def create_upload(self, key: str, attributes: Attributes) -> Upload:
        """Begin a multipart upload."""
        ...

    async def put_part(self, upload: Upload, number: int, body: Body) -> Part:
        """Send part `number` (from 1); all but the last have the same size, at least 5 MiB."""
        ...

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        """Complete the object from its parts, in order of their numbers, and return its entity tag."""
        ...

    async def abort_upload(self, upload: Upload) -> None:
        """Abort a multipart upload and delete its parts."""
        ...

    async def abort_uploads(self, key: str, *, but: Upload | None = None) -> None:
        """Abort every multipart upload of `key` except `but`, including those whose ID was lost."""
        ...

    def read(self, key: str) -> AsyncGenerator[bytes]:
        """Yield the bytes of an object in chunks of at most 512 KiB; raise if it ends early."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object."""
        ...

    async def presigned_put(self, key: str, size: int, *, expires_seconds: int) -> str:
        """Return a URL to which anyone may PUT an object of exactly `size` bytes, until it expires.

        The request needs no header besides `Content-Length`, and the object gets no attributes. Unlike `put`, such a
        request replaces an existing object. If the URL is signed with temporary credentials, it expires with them at
        the latest.
        """
        ...

    async def presigned_post(self, key: str, sizes: range, *, expires_seconds: int) -> PresignedPost:
        """Return a form with which anyone may POST an object under `key`, until it expires.

        The store rejects an object whose size is not in the range. Otherwise, this is like `presigned_put`.
        """
        ...

    async def check(self) -> None:
        """Check that the bucket exists and can be reached, and that the store has not denied a write lately.

        Raises:
            StorageUnavailable: One of these is not so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing."""

    key: str
    size: int
    modified: datetime
    etag: str
    """Without quotes."""


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """A multipart upload in a listing, neither completed nor aborted."""

    key: str
    upload_id: str
    begun: datetime


class Inventory(Protocol):
    """The whole bucket, in pages that are fetched as needed."""

    def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        """Yield the objects under `prefix` with keys above `after` and below `until`, in byte order."""
        ...

    def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        """Yield the multipart uploads under `prefix` that are in progress or abandoned."""
        ...

    async def exists(self, key: str) -> bool:
        """Return whether an object exists; raise if that cannot be determined."""
        ...

    async def delete_all(self, keys: Sequence[str]) -> None:
        """Delete up to 1,000 objects."""
        ...

    async def abort(self, upload: ListedUpload) -> None:
        """Abort a multipart upload and delete its parts; succeed if it no longer exists."""
        ...
