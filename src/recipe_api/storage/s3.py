"""An `ObjectStore` on Amazon S3 or any store with its API, through aioboto3, and `lean` for what makes an object.

Considerations: the CRC-32 goes as a header of the body it covers. botocore's own default would send it as a trailer,
which some stores keep as part of the object's `Content-Encoding` and others refuse.

A write can fail though it worked: its answer was lost, and a new try is refused by what the first one wrote, or finds
the multipart upload gone. So every failed write is followed by a look at what is there: our own metadata under a key
of 128 random bits is our own object.
"""

import asyncio
import base64
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.body import Body, BodyFile
from recipe_api.storage.lean import LeanCalls, OutOfTheOrdinary, Unreadable
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.retries import tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_aiobotocore_s3.client import S3Client


LOOK_SECONDS = 3

_UPLOAD_GONE = {"NoSuchUpload", "404"}
_FAILURES = (BotoCoreError, ClientError, HttpError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)


class S3Store:
    """One bucket."""

    def __init__(
        self,
        client: "S3Client",
        *,
        bucket: str,
        checksums: bool,
        conditional_writes: bool,
        acl: str | None = None,
        lean: LeanCalls | None = None,
    ) -> None:
        self._client = client
        self._lean = lean if checksums else None
        self._bucket = bucket
        self._checksums = checksums
        self._condition: dict[str, Any] = {"IfNoneMatch": "*"} if conditional_writes else {}
        self._acl: dict[str, Any] = {"ACL": acl} if acl else {}

    async def put(self, key: str, body: Body, attributes: Attributes) -> str:
        checksum = self._checksum(body)
        with translated("PutObject", key):
            try:
                return _unquoted(await tried(lambda: self._put(key, body, attributes, checksum)))
            except _FAILURES:
                if etag := await self._own(key, attributes):
                    return etag
                raise

    async def create_upload(self, key: str, attributes: Attributes) -> Upload:
        algorithm: dict[str, Any] = {"ChecksumAlgorithm": "CRC32"} if self._checksums else {}
        tries = 0

        async def create() -> str:
            nonlocal tries
            tries += 1
            if self._lean is not None:
                try:
                    return await self._lean.create_upload(key, attributes)
                except OutOfTheOrdinary as odd:
                    _log.info("beginning it again through aioboto3", key=key, reason=str(odd))
                    tries += isinstance(odd, Unreadable)  # which may have begun one
            answer = await self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, **_headers(attributes), **self._acl, **algorithm
            )
            return answer["UploadId"]

        with translated("CreateMultipartUpload", key):
            upload = Upload(key, await tried(create), attributes)
        if tries > 1:  # a try whose answer was lost has begun another one
            with suppress(StorageUnavailable):  # which is no reason to fail; the sweep will find it
                await self.abort_uploads(key, but=upload)
        return upload

    async def put_part(self, upload: Upload, number: int, body: Body) -> Part:
        checksum = self._checksum(body)
        with translated("UploadPart", upload.key):
            etag = await tried(lambda: self._put_part(upload, number, body, checksum))
        return Part(number, etag, checksum)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        with translated("CompleteMultipartUpload", upload.key):
            try:
                return _unquoted(await tried(lambda: self._complete_upload(upload, parts)))
            except _FAILURES:
                if etag := await self._own(upload.key, upload.attributes):
                    return etag
                raise

    async def abort_upload(self, upload: Upload) -> None:
        with translated("AbortMultipartUpload", upload.key):
            try:
                await tried(
                    lambda: self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id
                    )
                )
            except ClientError as error:
                if _code(error) not in _UPLOAD_GONE:
                    raise

    async def abort_uploads(self, key: str, *, but: Upload | None = None) -> None:
        with translated("ListMultipartUploads", key):
            found = await tried(lambda: self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key))
        for listed in found.get("Uploads", []):
            upload = Upload(listed["Key"], listed["UploadId"], Attributes(content_type="", content_disposition=""))
            if upload.key == key and not (but and upload.upload_id == but.upload_id):
                await self.abort_upload(upload)

    async def delete(self, key: str) -> None:
        with translated("DeleteObject", key):
            await tried(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def check(self) -> None:
        with translated("HeadBucket", self._bucket):
            await self._client.head_bucket(Bucket=self._bucket)

    async def _own(self, key: str, attributes: Attributes) -> str | None:
        """The entity tag of the object under `key` if it is the one these attributes belong to."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await self._client.head_object(Bucket=self._bucket, Key=key)
        except _FAILURES:
            return None
        return _unquoted(found["ETag"]) if found["Metadata"] == attributes.metadata else None

    async def _put(self, key: str, body: Body, attributes: Attributes, checksum: str | None) -> str:
        if self._lean is not None and checksum is not None:
            try:
                return await self._lean.put(key, body, attributes, checksum=checksum)
            except OutOfTheOrdinary as odd:
                _log.info("sending it again through aioboto3", key=key, reason=str(odd))
        answer = await self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=cast("Any", BodyFile(body)),
            **_headers(attributes),
            **self._acl,
            **_crc32(checksum),
            **self._condition,
        )
        return answer["ETag"]

    async def _complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        if self._lean is not None:
            try:
                return await self._lean.complete_upload(upload, parts)
            except OutOfTheOrdinary as odd:
                _log.info("completing it again through aioboto3", key=upload.key, reason=str(odd))
        listed: list[Any] = [
            {"PartNumber": part.number, "ETag": part.etag} | ({"ChecksumCRC32": part.checksum} if part.checksum else {})
            for part in parts
        ]
        answer = await self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": listed},
            **self._condition,
        )
        return answer["ETag"]

    async def _put_part(self, upload: Upload, number: int, body: Body, checksum: str | None) -> str:
        if self._lean is not None and checksum is not None:
            try:
                return await self._lean.put_part(upload, number, body, checksum=checksum)
            except OutOfTheOrdinary as odd:
                _log.info("sending it again through aioboto3", key=upload.key, part=number, reason=str(odd))
        answer = await self._client.upload_part(
            Bucket=self._bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            PartNumber=number,
            Body=cast("Any", BodyFile(body)),
            **_crc32(checksum),
        )
        return answer["ETag"]

    def _checksum(self, body: Body) -> str | None:
        return base64.b64encode(body.crc32().to_bytes(4, "big")).decode("ascii") if self._checksums else None


def _headers(attributes: Attributes) -> dict[str, Any]:
    return {
        "ContentType": attributes.content_type,
        "ContentDisposition": attributes.content_disposition,
        "CacheControl": attributes.cache_control,
        "Metadata": attributes.metadata,
    }


def _crc32(checksum: str | None) -> dict[str, Any]:
    return {"ChecksumCRC32": checksum} if checksum else {}


def _unquoted(etag: str) -> str:
    return etag.strip('"')


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(operation: str, key: str) -> "Iterator[None]":
    """Makes the vendor's failures of an operation on a key into ours, and logs them."""
    try:
        yield
    except _FAILURES as error:
        _log.warning("object store failed", operation=operation, key=key, error=str(error) or type(error).__name__)
        raise StorageUnavailable("The object store does not answer as it should; try again in a moment.") from error
