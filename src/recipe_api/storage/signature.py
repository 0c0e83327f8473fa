"""AWS's Signature Version 4 of a request to S3, for requests whose form is known.

botocore's own signer is right for any request, and for that takes it apart and builds it anew: a sixth of all the CPU
of a small upload (docs/benchmarks.md, "One PUT"). This one takes path and query as they go on the wire and signs every
header it is given. A test holds the two to the same signature. The rule is Amazon's ("Authenticating Requests: Using
the Authorization Header", S3 API reference).
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Protocol

UNSIGNED = "UNSIGNED-PAYLOAD"
"""In place of a body's SHA-256, where TLS and a checksum guard the body."""
_ALGORITHM = "AWS4-HMAC-SHA256"
_TO_SECONDS = len("2026-11-22T07:29:27")


class Credentials(Protocol):
    """botocore's, frozen: what one signature goes by."""

    access_key: str
    secret_key: str
    token: str | None


def signed(
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
    """The headers, and with them those of the signature.

    Args:
        method: PUT, say.
        path: As it goes on the wire, escaped once.
        query: Escaped, its parameters in order of their names.
        headers: In lower case, `host` among them.
        payload: The body's SHA-256 in hexadecimal, or `UNSIGNED`.
        region: Where the bucket is.
        credentials: Whose signature it is.
        time: Now, in UTC.
    """
    moment = time.isoformat(timespec="seconds")[:_TO_SECONDS].replace("-", "").replace(":", "") + "Z"
    everything = {**headers, "x-amz-content-sha256": payload, "x-amz-date": moment}
    if credentials.token:
        everything["x-amz-security-token"] = credentials.token
    names = sorted(everything)
    listed = ";".join(names)
    told = [f"{name}:{' '.join(everything[name].split())}" for name in names]
    canonical = "\n".join([method, path, query, *told, "", listed, payload])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    keyed = _keyed(credentials.secret_key, moment[:8], region).copy()
    keyed.update(f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode("ascii"))
    signature = keyed.hexdigest()
    everything["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return everything


@lru_cache(maxsize=4)
def _keyed(secret_key: str, day: str, region: str) -> hmac.HMAC:
    """An HMAC with the key of a day, to be copied; that takes half the time of a new one.

    The former credentials' stay in use for a moment when they are refreshed.
    """
    key = f"AWS4{secret_key}".encode()
    for step in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode("ascii"), "sha256")
    return hmac.new(key, digestmod="sha256")
