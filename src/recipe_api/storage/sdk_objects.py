"""Reading and deleting objects, and checking their bucket, through aioboto3."""

from typing import TYPE_CHECKING

from recipe_api.storage.s3_objects import Download
from recipe_api.units import KIB

if TYPE_CHECKING:
    from aiobotocore.response import StreamingBody
    from types_aiobotocore_s3.client import S3Client

READ_BYTES = 256 * KIB
"""The maximum size of a chunk."""


class SdkObjects:
    """An `S3Objects` for one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def check_bucket(self) -> None:
        await self._client.head_bucket(Bucket=self._bucket)

    async def get(self, key: str) -> Download:
        response = await self._client.get_object(Bucket=self._bucket, Key=key)
        return _SdkDownload(response["Body"])

    async def delete(self, key: str) -> None:
        await self._client.delete_object(Bucket=self._bucket, Key=key)


class _SdkDownload:
    """The body of a response."""

    def __init__(self, body: "StreamingBody") -> None:
        self._body = body

    async def read(self) -> bytes:
        return await self._body.read(READ_BYTES)  # not that of the underlying response, which does not check the length

    async def aclose(self) -> None:
        self._body.close()
