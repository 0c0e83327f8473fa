"""Direct access to the bucket for async tests, bypassing the store under test."""

from typing import TYPE_CHECKING

from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.fallback import Fallback
from recipe_api.storage.presigner import Presigner
from recipe_api.storage.protocol import Attributes
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.s3_objects import S3Objects
from recipe_api.storage.s3_writer import S3Writer, WriteOptions
from recipe_api.storage.sdk_objects import SdkObjects
from recipe_api.storage.sdk_writer import SdkWriter

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_s3.type_defs import GetObjectOutputTypeDef

ATTRIBUTES = Attributes(
    content_type="image/jpeg",
    content_disposition="inline; filename=\"p.jpg\"; filename*=UTF-8''p.jpg",
    metadata={"fieldname": "photo", "recipe": "11111111-1111-4111-8111-111111111111"},
)
OTHERS = Attributes(content_type="image/png", content_disposition="inline", metadata={"recipe": "another"})


class Seen:
    """The contents of the bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    async def keys(self) -> list[str]:
        response = await self.client.list_objects_v2(Bucket=self.bucket)
        return [item["Key"] for item in response.get("Contents", [])]

    async def multipart_uploads(self) -> list[tuple[str, str]]:
        response = await self.client.list_multipart_uploads(Bucket=self.bucket)
        return [(upload["Key"], upload["UploadId"]) for upload in response.get("Uploads", [])]

    async def nothing(self) -> bool:
        return await self.keys() == [] and await self.multipart_uploads() == []

    async def object(self, key: str) -> "GetObjectOutputTypeDef":
        return await self.client.get_object(Bucket=self.bucket, Key=key)

    async def body(self, key: str) -> bytes:
        return await (await self.object(key))["Body"].read()

    async def clear(self) -> None:
        for key in await self.keys():
            await self.client.delete_object(Bucket=self.bucket, Key=key)
        for key, upload_id in await self.multipart_uploads():
            await self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)


def sdk_store(client: "S3Client", bucket: str, *, checksums: bool = True, conditional: bool = True) -> S3Store:
    """Return a store that uses aioboto3 alone. It has no credentials to presign with."""
    options = WriteOptions(bucket=bucket, checksums=checksums, conditional=conditional)
    endpoint = Endpoint(bucket=bucket, bucket_url=f"{client.meta.endpoint_url}/{bucket}", region="", credentials=None)
    return S3Store(
        client,
        Fallback[S3Writer](SdkWriter(client, options)),
        Fallback[S3Objects](SdkObjects(client, bucket)),
        options,
        Presigner(endpoint),
    )
