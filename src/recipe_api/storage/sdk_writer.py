"""Writing objects through aioboto3.

The CRC-32 is sent as a header. botocore's default is a trailer, which some stores keep as part of the object's
`Content-Encoding` and others reject.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from recipe_api.storage.body import Body, BodyFile
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.s3_writer import WriteOptions

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


class SdkWriter:
    """An `S3Writer` for one bucket."""

    def __init__(self, client: "S3Client", options: WriteOptions) -> None:
        self._client = client
        self._bucket = options.bucket
        self._algorithm: dict[str, Any] = {"ChecksumAlgorithm": "CRC32"} if options.checksums else {}
        self._condition: dict[str, Any] = {"IfNoneMatch": "*"} if options.conditional else {}
        self._acl_of = options.acl_of

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str | None) -> str:
        response = await self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=cast("Any", BodyFile(body)),
            **_headers(attributes),
            **self._acl(key),
            **_crc32(checksum),
            **self._condition,
        )
        return response["ETag"]

    async def create_upload(self, key: str, attributes: Attributes) -> str:
        response = await self._client.create_multipart_upload(
            Bucket=self._bucket, Key=key, **_headers(attributes), **self._acl(key), **self._algorithm
        )
        return response["UploadId"]

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str | None) -> str:
        response = await self._client.upload_part(
            Bucket=self._bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            PartNumber=number,
            Body=cast("Any", BodyFile(body)),
            **_crc32(checksum),
        )
        return response["ETag"]

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        listed: list[Any] = [{"PartNumber": part.number, "ETag": part.etag, **_crc32(part.checksum)} for part in parts]
        response = await self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=upload.key,
            UploadId=upload.upload_id,
            MultipartUpload={"Parts": listed},
            **self._condition,
        )
        return response["ETag"]

    def _acl(self, key: str) -> dict[str, Any]:
        acl = self._acl_of(key)
        return {"ACL": acl} if acl else {}


def _headers(attributes: Attributes) -> dict[str, Any]:
    return {
        "ContentType": attributes.content_type,
        "ContentDisposition": attributes.content_disposition,
        "CacheControl": attributes.cache_control,
        "Metadata": attributes.metadata,
    }


def _crc32(checksum: str | None) -> dict[str, Any]:
    return {"ChecksumCRC32": checksum} if checksum else {}
