"""The signature equals botocore's. `test_fast_writer` shows that a verifying store accepts it."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4PostAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.signature import UNSIGNED, presign, sign, sign_policy

REGION = "eu-central-1"
KEYS = st.text(alphabet=st.characters(codec="utf-8"), min_size=1)
ODD_KEYS = st.text(alphabet=" +/%%25&=?#~'()*!.-_é🥞", min_size=1)
UPLOAD_IDS = st.text(alphabet="abcXYZ019-_.~+/= %", min_size=1)
VALUES = st.text(alphabet=' \tab"=;,!~*', max_size=40)
NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1)
HOSTS = st.sampled_from(["photos.s3.eu-central-1.amazonaws.com", "127.0.0.1:8333", "[::1]:8333"])
SECRETS = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
CREDENTIALS = st.builds(ReadOnlyCredentials, SECRETS, SECRETS, st.none() | SECRETS, st.none())
HEADERS = st.dictionaries(NAMES.map(lambda name: f"x-amz-meta-{name}"), VALUES)


def by_botocore(url: str, headers: dict[str, str], body: bytes, credentials: ReadOnlyCredentials) -> AWSRequest:
    """Return the same request, signed by botocore at the current time, which is in `X-Amz-Date`."""
    request = AWSRequest("PUT", url, headers=headers, data=body)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": url.startswith("http:")})
    S3SigV4Auth(credentials, "s3", REGION).add_auth(request)
    return request


@given(
    key=KEYS | ODD_KEYS,
    upload_id=st.none() | UPLOAD_IDS,
    headers=HEADERS,
    body=st.binary(max_size=100),
    credentials=CREDENTIALS,
    scheme=st.sampled_from(["http", "https"]),
    host=HOSTS,
)
def test_equals_botocores(
    *,
    key: str,
    upload_id: str | None,
    headers: dict[str, str],
    body: bytes,
    credentials: Any,  # noqa: ANN401 - botocore's type says that each of them may be missing
    scheme: str,
    host: str,
) -> None:
    path = f"/photos/{quote(key, safe=SAFE)}"
    query = "" if upload_id is None else f"partNumber=1&uploadId={quote(upload_id, safe='-_.~')}"
    headers = {"host": host, "content-length": str(len(body)), **headers}
    theirs = by_botocore(f"{scheme}://{host}{path}?{query}", headers, body, credentials)

    ours = sign(
        "PUT",
        path,
        query,
        headers,
        payload=hashlib.sha256(body).hexdigest() if scheme == "http" else UNSIGNED,
        region=REGION,
        credentials=credentials,
        time=datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
    )

    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours == {name.lower(): value for name, value in theirs.headers.items()}


@given(
    key=KEYS | ODD_KEYS,
    size=st.integers(0, 2**40),
    expires_seconds=st.integers(1, 604_800),
    credentials=CREDENTIALS,
    host=HOSTS,
)
def test_of_a_presigned_url_equals_botocores(
    *,
    key: str,
    size: int,
    expires_seconds: int,
    credentials: Any,  # noqa: ANN401 - as above
    host: str,
) -> None:
    path = f"/photos/{quote(key, safe=SAFE)}"
    headers = {"host": host, "content-length": str(size)}
    theirs = AWSRequest("PUT", f"https://{host}{path}", headers=headers)
    S3SigV4QueryAuth(credentials, "s3", REGION, expires=expires_seconds).add_auth(theirs)
    parameters = dict(parse_qsl(urlsplit(str(theirs.url)).query, keep_blank_values=True))

    ours = presign(
        "PUT",
        path,
        headers,
        region=REGION,
        credentials=credentials,
        time=datetime.strptime(parameters["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        expires_seconds=expires_seconds,
    )

    assert parameters["X-Amz-SignedHeaders"] == "content-length;host"
    assert dict(parse_qsl(ours, keep_blank_values=True)) == parameters


@given(key=KEYS | ODD_KEYS, credentials=CREDENTIALS)
def test_of_a_post_policy_equals_botocores(*, key: str, credentials: Any) -> None:  # noqa: ANN401 - as above
    expiry = datetime(2999, 1, 1, tzinfo=UTC)
    conditions = [{"bucket": "photos"}, {"key": key}, ["content-length-range", 1, 9]]
    policy = {"expiration": "2999-01-01T00:00:00.000Z", "conditions": list(conditions)}
    theirs = AWSRequest("POST", "https://store.example/photos")
    theirs.context |= {"s3-presign-post-fields": {}, "s3-presign-post-policy": policy}
    S3SigV4PostAuth(credentials, "s3", REGION).add_auth(theirs)
    expected = theirs.context["s3-presign-post-fields"]
    time = datetime.strptime(expected["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    ours = sign_policy(
        conditions,
        region=REGION,
        credentials=credentials,
        time=time,
        expires_seconds=int((expiry - time).total_seconds()),
    )

    assert ours == expected


def test_follows_the_secret_the_day_and_the_region_despite_the_cache() -> None:
    for secret, day, region in 2 * (("one", 1, "a"), ("two", 1, "a"), ("one", 2, "a"), ("one", 1, "b")):
        credentials: Any = ReadOnlyCredentials("key", secret, None, None)
        time = datetime(2026, 1, day, tzinfo=UTC)
        theirs = AWSRequest()

        ours = sign_policy([], region=region, credentials=credentials, time=time, expires_seconds=60)

        theirs.context["timestamp"] = ours["x-amz-date"]
        expected = S3SigV4PostAuth(credentials, "s3", region).signature(ours["policy"], theirs)
        assert ours["x-amz-signature"] == expected
