"""AWS Signature Version 4 for requests to S3 whose form is known.

botocore's signer is correct for any request, and therefore parses and rebuilds it: a sixth of the CPU time
of a small upload (docs/benchmarks.md, "One PUT"). This one takes path and query as they are sent and signs every
header it gets. A test compares its signatures with botocore's. Source: Amazon's "Authenticating Requests: Using
the Authorization Header", S3 API reference.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Protocol

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Replaces a body's SHA-256 if TLS and a checksum protect the body."""
_ALGORITHM = "AWS4-HMAC-SHA256"
_TO_SECONDS = len("2026-11-22T07:29:27")


class Credentials(Protocol):
    """botocore's frozen credentials, for one signature."""

    access_key: str
    secret_key: str
    token: str | None


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    payload: str,
    region: str,
    credentials: Credentials,
    time: datetime,
) -> dict[str, str]:
    """Return the headers, with those of the signature added.

    Args:
        method: Such as PUT.
        path: Escaped once, as it is sent.
        query: Escaped, with its parameters sorted by name.
        headers: In lower case, with `host`.
        payload: The body's SHA-256 in hexadecimal, or `UNSIGNED`.
        region: Where the bucket is.
        credentials: To sign with.
        time: The current time, in UTC.
    """
    moment = time.isoformat(timespec="seconds")[:_TO_SECONDS].replace("-", "").replace(":", "") + "Z"
    everything = {**headers, "x-amz-content-sha256": payload, "x-amz-date": moment}
    if credentials.token:
        everything["x-amz-security-token"] = credentials.token
    names = sorted(everything)
    listed = ";".join(names)
    lines = [f"{name}:{' '.join(everything[name].split())}" for name in names]
    canonical = "\n".join([method, path, query, *lines, "", listed, payload])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    keyed = _signing_hmac(credentials.secret_key, moment[:8], region).copy()
    keyed.update(f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode("ascii"))
    signature = keyed.hexdigest()
    everything["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return everything


@lru_cache(maxsize=4)
def _signing_hmac(secret_key: str, day: str, region: str) -> hmac.HMAC:
    """Return an HMAC with a day's signing key, to be copied, which takes half the time of a new one.

    The cache has room for former credentials too, which stay in use for a moment after a refresh.
    """
    key = f"AWS4{secret_key}".encode()
    for step in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode("ascii"), "sha256")
    return hmac.new(key, digestmod="sha256")
