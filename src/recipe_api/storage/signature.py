"""AWS Signature Version 4 for requests to S3 whose form is known.

botocore's signer is correct for any request, and therefore parses and rebuilds it: a sixth of the CPU time
of a small upload (docs/benchmarks.md, "One PUT"). This one takes path and query as they are sent and signs every
header it gets. `presign` puts the signature into the query instead, for a client without credentials; botocore's
`generate_presigned_url` cannot sign a `content-length`, so it cannot limit what the client may send. `sign_policy` is
for a client that sends a form.

Tests compare them with botocore's signers. Source: Amazon's "Authenticating Requests: Using the Authorization Header",
"Using Query Parameters" and "Browser-Based Uploads Using POST", S3 API reference.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import gmtime, strftime
from typing import Any, Protocol
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Replaces a body's SHA-256 if TLS and a checksum protect the body."""
EMPTY = hashlib.sha256().hexdigest()
"""The SHA-256 of an empty body."""
ALGORITHM = "AWS4-HMAC-SHA256"


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
    moment = _moment(time)
    everything = {**headers, "x-amz-content-sha256": payload, "x-amz-date": moment}
    if credentials.token:
        everything["x-amz-security-token"] = credentials.token
    listed = ";".join(sorted(everything))
    scope = _scope(moment, region)
    canonical = _canonical_request(method, path, query, everything, listed, payload)
    signature = _signature(canonical, moment=moment, region=region, secret_key=credentials.secret_key)
    everything["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return everything


def presign(
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    region: str,
    credentials: Credentials,
    time: datetime,
    expires_seconds: int,
) -> str:
    """Return the query string of a presigned URL, with which anyone can send this request, with any body.

    The store rejects the request if one of these headers differs.

    Args:
        method: Such as PUT.
        path: Escaped once, as it is sent.
        headers: In lower case, with `host`.
        region: Where the bucket is.
        credentials: To sign with; if they are temporary, the query expires with them at the latest.
        time: The current time, in UTC.
        expires_seconds: From `time` on; S3 accepts a week at most.
    """
    moment = _moment(time)
    listed = ";".join(sorted(headers))
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{_scope(moment, region)}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        **({"X-Amz-Security-Token": credentials.token} if credentials.token else {}),
        "X-Amz-SignedHeaders": listed,
    }  # sorted, as the signature requires
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items())
    canonical = _canonical_request(method, path, query, headers, listed, UNSIGNED)
    signature = _signature(canonical, moment=moment, region=region, secret_key=credentials.secret_key)
    return f"{query}&X-Amz-Signature={signature}"


def sign_policy(
    conditions: Sequence[Any], *, region: str, credentials: Credentials, time: datetime, expires_seconds: int
) -> dict[str, str]:
    """Return the fields of a form with which anyone can POST an object that meets these conditions.

    Args:
        conditions: On the fields of the form and on the size of the object, in the syntax of a POST policy.
        region: Where the bucket is.
        credentials: To sign with; if they are temporary, the policy expires with them at the latest.
        time: The current time, in UTC.
        expires_seconds: From `time` on.
    """
    moment = _moment(time)
    fields = {
        "x-amz-algorithm": ALGORITHM,
        "x-amz-credential": f"{credentials.access_key}/{_scope(moment, region)}",
        "x-amz-date": moment,
        **({"x-amz-security-token": credentials.token} if credentials.token else {}),
    }
    expiration = (time.astimezone(UTC) + timedelta(seconds=expires_seconds)).isoformat(timespec="milliseconds")
    policy = {
        "expiration": expiration.replace("+00:00", "Z"),
        "conditions": [*conditions, *({name: value} for name, value in fields.items())],
    }
    encoded = b64encode(json.dumps(policy).encode("utf-8"))
    signature = _signing_hmac(credentials.secret_key, moment[:8], region).copy()
    signature.update(encoded)
    return {**fields, "policy": encoded.decode("ascii"), "x-amz-signature": signature.hexdigest()}


def _moment(time: datetime) -> str:
    return _formatted(int(time.timestamp()))


@lru_cache(maxsize=1)  # most requests are signed in the same second as the one before
def _formatted(seconds: int) -> str:
    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


def _scope(moment: str, region: str) -> str:
    return f"{moment[:8]}/{region}/s3/aws4_request"


def _canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], listed: str, payload: str
) -> str:
    """Return what is signed. `listed` has the names of all headers, sorted, with semicolons between them."""
    names = listed.split(";")
    values = map(" ".join, map(str.split, map(headers.__getitem__, names)))  # without superfluous white space
    lines = map(":".join, zip(names, values, strict=True))
    return "\n".join([method, path, query, *lines, "", listed, payload])


def _signature(canonical: str, *, moment: str, region: str, secret_key: str) -> str:
    digest = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    keyed = _signing_hmac(secret_key, moment[:8], region).copy()
    keyed.update(f"{ALGORITHM}\n{moment}\n{_scope(moment, region)}\n{digest}".encode("ascii"))
    return keyed.hexdigest()


@lru_cache(maxsize=4)
def _signing_hmac(secret_key: str, day: str, region: str) -> hmac.HMAC:
    """Return an HMAC with a day's signing key, to be copied, which takes half the time of a new one.

    The cache has room for former credentials too, which stay in use for a moment after a refresh.
    """
    key = f"AWS4{secret_key}".encode()
    for step in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode("ascii"), "sha256")
    return hmac.new(key, digestmod="sha256")
