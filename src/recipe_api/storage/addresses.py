"""Where an object can be fetched by anyone: the public address of a key.

`PUBLIC_BASE_URL` (a CDN or an own domain) goes before all; a custom endpoint is addressed by path, as most stores want
it; Amazon S3 by virtual host, except for bucket names with dots, which its wildcard certificate does not cover.
"""

from urllib.parse import quote

SAFE = "/-_.~"
"""What S3 leaves unescaped in a key: RFC 3986's unreserved characters, and the slash."""


def public_base_url(*, bucket: str, region: str, endpoint_url: str | None, override: str | None) -> str:
    """What goes before `/{key}` in every public address, without a slash at its end."""
    if override:
        return override.rstrip("/")
    if endpoint_url:
        return f"{endpoint_url.rstrip('/')}/{bucket}"
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if "." in bucket:
        return f"https://s3.{region}.{suffix}/{bucket}"
    return f"https://{bucket}.s3.{region}.{suffix}"


def location_of(key: str, *, base_url: str) -> str:
    """The public address of `key`, escaped."""
    return f"{base_url}/{quote(key, safe=SAFE)}"
