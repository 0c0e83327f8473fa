"""Public addresses of objects.

`PUBLIC_BASE_URL`, a CDN or a custom domain, has precedence. A custom endpoint is addressed by path, as most stores
require. Amazon S3 is addressed by virtual host, except for bucket names that cannot be one label of a host name: those
with dots, which its wildcard certificate does not cover, and old ones with capitals.

Amazon's regions belong to partitions, which share neither accounts nor domains. The table here is a copy of botocore's,
so that an address needs neither files nor a vendor; a test compares the two, region by region.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from recipe_api.settings import S3Settings

SAFE = "/-_.~"
"""The characters that S3 does not escape in a key: RFC 3986's unreserved characters, and the slash."""

_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Partition:
    """A group of Amazon's regions."""

    name: str
    """As in an ARN: `arn:aws-cn:s3:::photos`."""
    domain: str


AWS = Partition("aws", "amazonaws.com")
_OTHERS = {
    "cn-": Partition("aws-cn", "amazonaws.com.cn"),
    "eusc-": Partition("aws-eusc", "amazonaws.eu"),
    "us-gov-": Partition("aws-us-gov", "amazonaws.com"),
    "us-iso-": Partition("aws-iso", "c2s.ic.gov"),
    "us-isob-": Partition("aws-iso-b", "sc2s.sgov.gov"),
    "eu-isoe-": Partition("aws-iso-e", "cloud.adc-e.uk"),
    "us-isof-": Partition("aws-iso-f", "csp.hci.ic.gov"),
}
"""By the prefix of their regions' names; all other regions belong to `AWS`."""


def partition_of(region: str) -> Partition:
    """Return the partition of one of Amazon's regions."""
    return next((partition for start, partition in _OTHERS.items() if region.startswith(start)), AWS)


def public_base_url(*, bucket: str, region: str, endpoint_url: str | None, override: str | None) -> str:
    """Return what precedes `/{key}` in every public address."""
    if override:
        return override.rstrip("/")
    if endpoint_url:
        return f"{endpoint_url.rstrip('/')}/{bucket}"
    host = f"s3.{region}.{partition_of(region).domain}"
    if _HOST_LABEL.fullmatch(bucket):
        return f"https://{bucket}.{host}"
    return f"https://{host}/{bucket}"


def bucket_url(settings: S3Settings) -> str:
    """Return the bucket's own address, without a trailing slash. It identifies the bucket among those of all stores."""
    return public_base_url(
        bucket=settings.s3_bucket, region=settings.aws_region, endpoint_url=settings.s3_endpoint_url, override=None
    )


def base_urls(settings: S3Settings) -> tuple[str, str]:
    """Return what precedes `/{key}` in public addresses: the current base URL, and the bucket's own.

    Photos from before `PUBLIC_BASE_URL` was set keep the bucket's own.
    """
    own = bucket_url(settings)
    return settings.public_base_url or own, own


def object_url(key: str, *, base_url: str) -> str:
    """Return the public address of `key`, escaped."""
    return f"{base_url}/{quote(key, safe=SAFE)}"
