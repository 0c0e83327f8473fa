"""Where an object can be fetched by anyone: the public address of a key.

`PUBLIC_BASE_URL` (a CDN or an own domain) goes before all; a custom endpoint is addressed by path, as most stores want
it; Amazon S3 by virtual host, save for names of buckets that cannot be one label of a host name: those with dots, which
its wildcard certificate does not cover, and old ones with capitals or underscores.

Amazon's regions belong to partitions, which share neither accounts nor domains. The table here is botocore's own
(a test compares them, region by region); it is written down so that an address needs no files and no vendor.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

SAFE = "/-_.~"
"""What S3 leaves unescaped in a key: RFC 3986's unreserved characters, and the slash."""

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
"""By what their regions' names begin with; all other regions are of `AWS`."""


def partition_of(region: str) -> Partition:
    """The partition of a region of Amazon's."""
    return next((partition for start, partition in _OTHERS.items() if region.startswith(start)), AWS)


def public_base_url(*, bucket: str, region: str, endpoint_url: str | None, override: str | None) -> str:
    """What goes before `/{key}` in every public address, without a slash at its end."""
    if override:
        return override.rstrip("/")
    if endpoint_url:
        return f"{endpoint_url.rstrip('/')}/{bucket}"
    host = f"s3.{region}.{partition_of(region).domain}"
    if _HOST_LABEL.fullmatch(bucket):
        return f"https://{bucket}.{host}"
    return f"https://{host}/{bucket}"


def location_of(key: str, *, base_url: str) -> str:
    """The public address of `key`, escaped."""
    return f"{base_url}/{quote(key, safe=SAFE)}"
