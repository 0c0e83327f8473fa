"""The first request to a store: whether it responds, accepts the credentials and has the bucket.

Listing a single key shows all of this, because each problem hides the following ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from recipe_api.storage.failures import FAILURES, code_of, is_from_s3, is_missing_credentials
from recipe_api.storage.retries import retry

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketProbe:
    """The response to the listing, or its failure."""

    response: Mapping[str, Any]
    failure: Exception | None = None

    @property
    def code(self) -> str:
        """S3's code for the failure; empty if there was none."""
        return code_of(self.failure)

    @property
    def has_response(self) -> bool:
        """Whether any server sent an HTTP response."""
        return self.failure is None or isinstance(self.failure, ClientError | ResponseParserError)

    @property
    def is_from_s3(self) -> bool:
        """Whether an S3 store sent the response."""
        return is_missing_credentials(self.failure) or is_from_s3(self.failure or self.response)

    @property
    def date(self) -> str:
        """The store's time from the `Date` header; empty if there is none."""
        return str(self.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))

    @property
    def region(self) -> str | None:
        """The bucket's region, if the store names it."""
        return region_of(self.response)


async def probe_bucket(client: "S3Client", *, bucket: str, prefix: str, retries: bool = False) -> BucketProbe:
    """List the first key and return the response."""

    async def listing() -> Mapping[str, Any]:
        return dict(await client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1))

    try:
        return BucketProbe(response=await (retry(listing) if retries else listing()))
    except FAILURES as failure:
        return BucketProbe(response=failure.response if isinstance(failure, ClientError) else {}, failure=failure)


def region_of(response: Mapping[str, Any]) -> str | None:
    """Return the region that a response or rejection names."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = response.get("BucketRegion") or headers.get("x-amz-bucket-region")
    return region
