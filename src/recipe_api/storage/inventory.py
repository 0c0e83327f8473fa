"""The whole bucket: listing it page by page, and deleting from it."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from recipe_api.errors import StorageUnavailable
from recipe_api.storage.failures import translate_errors
from recipe_api.storage.protocol import Listed, ListedUpload
from recipe_api.storage.retries import retry

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_GONE = {"404", "NoSuchKey", "NotFound"}


class S3Inventory:
    """An `Inventory` of one bucket of Amazon S3 or any store with its API."""

    def __init__(self, client: "S3Client", *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        with translate_errors("ListObjectsV2", prefix, bucket=self._bucket):
            while True:
                page = await retry(
                    partial(self._client.list_objects_v2, Bucket=self._bucket, Prefix=prefix, StartAfter=after)
                )
                for found in page.get("Contents", []):
                    if until is not None and found["Key"] >= until:
                        return
                    yield Listed(found["Key"], found["Size"], found["LastModified"], found["ETag"].strip('"'))
                    after = found["Key"]
                if not page["IsTruncated"]:
                    return

    async def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        marker: dict[str, Any] = {}
        with translate_errors("ListMultipartUploads", prefix, bucket=self._bucket):
            while True:
                page = await retry(
                    partial(self._client.list_multipart_uploads, Bucket=self._bucket, Prefix=prefix, **marker)
                )
                for found in page.get("Uploads", []):
                    yield ListedUpload(found["Key"], found["UploadId"], found["Initiated"])
                if not page["IsTruncated"]:
                    return
                # SeaweedFS sorts by upload ID, and returns no key marker.
                following = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
                marker = {name: value for name, value in following.items() if value}

    async def exists(self, key: str) -> bool:
        with translate_errors("HeadObject", key, bucket=self._bucket):
            try:
                await retry(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
            except ClientError as error:
                if error.response["Error"]["Code"] in _GONE:
                    return False
                raise
        return True

    async def delete_all(self, keys: Sequence[str]) -> None:
        deletion: Any = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        with translate_errors("DeleteObjects", keys[0], bucket=self._bucket):
            response = await retry(lambda: self._client.delete_objects(Bucket=self._bucket, Delete=deletion))
        if errors := response.get("Errors"):
            raise StorageUnavailable(f"{len(errors)} objects could not be deleted: {errors[0].get('Code')}")

    async def abort(self, upload: ListedUpload) -> None:
        with translate_errors("AbortMultipartUpload", upload.key, bucket=self._bucket):
            try:
                await retry(
                    lambda: self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id
                    )
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchUpload":
                    raise
