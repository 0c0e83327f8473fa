"""The address of a bucket and the credentials for it, for requests that do not go through aioboto3.

Both come from botocore and aioboto3, so that they are correct in every configuration: virtual-host and path addressing,
all partitions, custom endpoints, and all credential providers.
"""

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.session import Session

from recipe_api.memory import temporary_objects

if TYPE_CHECKING:
    from botocore.config import Config

_PROBE = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a bucket is."""

    bucket_url: str
    """Without a trailing slash."""
    region: str
    """For the signature."""


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


def address_of(bucket: str, *, region: str, endpoint_url: str | None, config: "Config") -> Address:
    """Return the address that a client would use for a bucket.

    A botocore client computes it, and is discarded, because it and its models take 20 MB. Nothing is sent.

    Args:
        bucket: Its name.
        region: Its region.
        endpoint_url: The address of a store other than Amazon's.
        config: The configuration of a client that signs nothing, because there may be no credentials yet.
    """
    with temporary_objects():
        return _address_of(bucket, Session().create_client("s3", region, endpoint_url=endpoint_url, config=config))


def _address_of(bucket: str, client: Any) -> Address:  # noqa: ANN401 - botocore makes the class of the client
    with closing(client):
        probe: str = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
        return Address(bucket_url=probe.partition("?")[0].removesuffix(f"/{_PROBE}"), region=client.meta.region_name)
