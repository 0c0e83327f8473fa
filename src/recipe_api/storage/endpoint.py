"""The address of a bucket and the credentials for it, for requests that do not go through aioboto3.

Both come from aioboto3, so that they are correct in every configuration: virtual-host and path addressing, all
partitions, custom endpoints, and all credential providers.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from botocore.handlers import disable_signing

if TYPE_CHECKING:
    import aioboto3
    from types_aiobotocore_s3.client import S3Client

_PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A bucket's address, region and credentials."""

    bucket: str
    """Its name."""
    bucket_url: str
    """Without a trailing slash."""
    region: str
    """For the signature."""
    credentials: Any
    """botocore's credentials. Get them anew for each signature, so that they are refreshed when due."""


async def endpoint_of(session: "aioboto3.Session", client: "S3Client", bucket: str) -> Endpoint:
    """Return the endpoint that the client would use for a bucket, with the credentials of its session."""
    return Endpoint(
        bucket=bucket,
        bucket_url=await _bucket_url(client, bucket),
        region=client.meta.region_name,
        credentials=await cast("Any", session.get_credentials()),  # the stubs do not know that it is awaited
    )


async def _bucket_url(client: "S3Client", bucket: str) -> str:
    """Return the address that the client would use. Nothing is signed, because there may be no credentials yet."""
    unsigned = "choose-signer.s3.GetObject"
    client.meta.events.register(unsigned, disable_signing)
    try:
        probe = await client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
    finally:
        client.meta.events.unregister(unsigned, disable_signing)
    return probe.partition("?")[0].removesuffix(f"/{_PROBE}")
