"""An `ObjectStore` on Amazon S3 or any store with its API.

A write can fail although it worked: the response was lost, and the next attempt is rejected because of the object that
the first one wrote, or finds the multipart upload gone. So after every failed write the store is asked what is there:
an object with our own metadata under a key of 128 random bits is our own.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from recipe_api.error_translation import ErrorTranslation
from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body
from recipe_api.storage.connection_pool import ConnectionPool
from recipe_api.storage.failures import FAILURES, code_of, is_denied, translate_errors, translated
from recipe_api.storage.fallback import Fallback
from recipe_api.storage.keys import without_secret
from recipe_api.storage.presigner import Presigner
from recipe_api.storage.protocol import Attributes, Part, PresignedPost, Upload
from recipe_api.storage.retries import Effect, retry
from recipe_api.storage.s3_objects import Download, S3Objects
from recipe_api.storage.s3_writer import S3Writer, WriteOptions

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


LOOKUP_SECONDS = 3
"""The time to find out whether the object of a failed write exists."""

DENIED_SECONDS = 60
"""How long the service is not ready after the store denied a write and none has succeeded since."""

_WRITES = {"PutObject", "CreateMultipartUpload"}
_UPLOAD_GONE = {"NoSuchUpload", "404"}
_OBJECT_GONE = {"NoSuchKey"}
"""A bare 404 proves nothing: a proxy that cannot reach its store sends one too."""


class S3Store:
    """One bucket.

    Args:
        client: aioboto3's client, for all other operations.
        writer: Writes objects.
        objects: Reads and deletes objects.
        options: Of all objects; the writer's own.
        presigner: Signs URLs for clients that write objects themselves.
        pools: The connection pools of the fast implementations, by purpose.
    """

    def __init__(
        self,
        client: "S3Client",
        writer: Fallback[S3Writer],
        objects: Fallback[S3Objects],
        options: WriteOptions,
        presigner: Presigner,
        *,
        pools: Mapping[str, ConnectionPool] | None = None,
    ) -> None:
        self._client = client
        self._writer = writer
        self._objects = objects
        self._bucket = options.bucket
        self._checksums = options.checksums
        self._presigner = presigner
        self.pools = pools or {}
        self._denied_until = 0.0
        self._denial = ""

    @property
    def fallback_reason(self) -> str:
        """Why the last write that fell back to aioboto3 did so; empty if none has."""
        return self._writer.reason

    @property
    def fallbacks(self) -> int:
        """The number of operations that fell back to aioboto3."""
        return self._writer.count + self._objects.count

    async def put(self, key: str, body: Body, attributes: Attributes) -> str:
        checksum = self._checksum(body)
        effect = Effect()

        def operation(writer: S3Writer) -> Awaitable[str]:
            return writer.put(key, body, attributes, checksum=checksum)

        with self._translate_errors("PutObject", key, effect):
            try:
                etag = _unquote(await retry(lambda: effect.of(self._writer.run(operation, effect=effect, key=key))))
            except FAILURES:
                found = await self._etag_if_own(key, attributes) if effect.is_possible else None
                if found is None:
                    raise
                etag = found
        self._denied_until = 0.0
        return etag

    async def create_upload(self, key: str, attributes: Attributes) -> Upload:
        effect = Effect()

        def operation(writer: S3Writer) -> Awaitable[str]:
            return writer.create_upload(key, attributes)

        with self._translate_errors("CreateMultipartUpload", key, effect):
            upload_id = await retry(lambda: effect.of(self._writer.run(operation, effect=effect, key=key)))
        self._denied_until = 0.0
        upload = Upload(key, upload_id, attributes)
        if effect.is_possible:  # an attempt whose response was lost may have begun another upload
            with suppress(StorageUnavailable):  # no reason to fail: the sweep will find it
                await self.abort_uploads(key, but=upload)
        return upload

    async def put_part(self, upload: Upload, number: int, body: Body) -> Part:
        checksum = self._checksum(body)

        def operation(writer: S3Writer) -> Awaitable[str]:
            return writer.put_part(upload, number, body, checksum=checksum)

        with self._translate_errors("UploadPart", upload.key):
            etag = await retry(lambda: self._writer.run(operation, key=upload.key, part=number))
        return Part(number, etag, checksum)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        def operation(writer: S3Writer) -> Awaitable[str]:
            return writer.complete_upload(upload, parts)

        with self._translate_errors("CompleteMultipartUpload", upload.key):
            try:
                return _unquote(await retry(lambda: self._writer.run(operation, key=upload.key)))
            except FAILURES:
                if etag := await self._etag_if_own(upload.key, upload.attributes):
                    return etag
                raise

    async def abort_upload(self, upload: Upload) -> None:
        with self._translate_errors("AbortMultipartUpload", upload.key):
            try:
                await retry(
                    lambda: self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id
                    )
                )
            except ClientError as error:
                if code_of(error) not in _UPLOAD_GONE:
                    raise

    async def abort_uploads(self, key: str, *, but: Upload | None = None) -> None:
        with self._translate_errors("ListMultipartUploads", key):
            found = await retry(lambda: self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key))
        for listed in found.get("Uploads", []):
            upload = Upload(listed["Key"], listed["UploadId"], Attributes(content_type="", content_disposition=""))
            if upload.key == key and not (but and upload.upload_id == but.upload_id):
                await self.abort_upload(upload)

    async def read(self, key: str) -> AsyncGenerator[bytes]:
        def operation(objects: S3Objects) -> Awaitable[Download]:
            return objects.get(key)

        with self._translate_errors("GetObject", key):
            async with aclosing(await retry(lambda: self._objects.run(operation, key=without_secret(key)))) as download:
                while chunk := await download.read():
                    yield chunk

    async def delete(self, key: str) -> None:
        def operation(objects: S3Objects) -> Awaitable[None]:
            return objects.delete(key)

        with self._translate_errors("DeleteObject", key):
            try:
                await retry(lambda: self._objects.run(operation, key=without_secret(key)))
            except ClientError as error:
                if code_of(error) not in _OBJECT_GONE:  # S3 itself sends 204
                    raise

    async def presigned_put(self, key: str, size: int, *, expires_seconds: int) -> str:
        with translate_errors("PutObject (presigned)", key, bucket=self._bucket):
            return await self._presigner.put(key, size, expires_seconds=expires_seconds)

    async def presigned_post(self, key: str, sizes: range, *, expires_seconds: int) -> PresignedPost:
        with translate_errors("PostObject (presigned)", key, bucket=self._bucket):
            return await self._presigner.post(key, sizes, expires_seconds=expires_seconds)

    async def check(self) -> None:
        with self._translate_errors("HeadBucket", self._bucket):
            await self._objects.run(lambda objects: objects.check_bucket(), bucket=self._bucket)
        if asyncio.get_running_loop().time() < self._denied_until:
            raise StorageUnavailable("The object store rejected a recent upload.", reason=self._denial)

    def _translate_errors(self, operation: str, key: str, effect: Effect | None = None) -> ErrorTranslation:
        return ErrorTranslation(FAILURES, partial(self._translated, operation, key, effect))

    def _translated(self, operation: str, key: str, effect: Effect | None, error: Exception) -> StorageUnavailable:
        failure = translated(error, operation=operation, key=key, bucket=self._bucket)
        failure.had_no_effect = effect is not None and not effect.is_possible
        if operation in _WRITES and is_denied(error):
            self._denied_until = asyncio.get_running_loop().time() + DENIED_SECONDS
            self._denial = failure.reason
        return failure

    async def _etag_if_own(self, key: str, attributes: Attributes) -> str | None:
        """Return the entity tag of the object under `key` if it has these attributes."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = await self._client.head_object(Bucket=self._bucket, Key=key)
        except FAILURES:
            return None
        return _unquote(found["ETag"]) if found["Metadata"] == attributes.metadata else None

    def _checksum(self, body: Body) -> str | None:
        return base64.b64encode(body.crc32().to_bytes(4, "big")).decode("ascii") if self._checksums else None


def _unquote(etag: str) -> str:
    return etag.strip('"')
