"""The two calls that carry a photo's bytes, PutObject and UploadPart, without what botocore puts around them.

A PUT through botocore costs six times the CPU of one from here (docs/benchmarks.md, "One PUT"): it resolves
its endpoint rules anew for every key, rebuilds its user agent, walks its hooks. What has to be right stays botocore's
own: the credentials with their refresh, the signer, and the bucket's address, for which it is asked once. So does all
that is out of the ordinary. An answer that is neither success nor a fault of the server's (a redirect to another
region, a clock that is off, a condition that failed) is `OutOfTheOrdinary`, upon which the caller makes the same call
through aioboto3, and that answer counts.

The checksum is required: where `signs_payload` is false it stands in for the body's SHA-256, as in botocore.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.body import Body
from recipe_api.storage.protocol import Attributes, Upload
from recipe_api.storage.signature import UNSIGNED, signed
from recipe_api.storage.wire import Limits, Wire

if TYPE_CHECKING:
    import aioboto3
    from types_aiobotocore_s3.client import S3Client

_PROBE = "probe"
_SUCCESS, _SERVER_FAULT, _NOT_IMPLEMENTED = 200, 500, 501
_CHECKSUM_HEADER = "x-amz-checksum-crc32"


class OutOfTheOrdinary(Exception):
    """The answer was neither success nor a fault of the server's."""


class ServerFault(OSError):
    """The store answered with a status of 500 or above; the same call may succeed in a moment."""


class LeanPut:
    """Signed PUTs to one bucket; see `open_lean_put`.

    Args:
        wire: Carries them.
        credentials: botocore's; asked before each call, so that they are refreshed when due.
        bucket_url: The bucket's address, without a slash at its end.
        region: For the signature.
        signs_payload: Whether a body's SHA-256 is part of its signature.
        extra: Headers of every object, such as the condition that it is new; their names in lower case.
    """

    def __init__(
        self,
        wire: Wire,
        credentials: Any,  # noqa: ANN401 - aiobotocore names no type for all its kinds of credentials
        *,
        bucket_url: str,
        region: str,
        signs_payload: bool,
        extra: Mapping[str, str],
    ) -> None:
        self._wire = wire
        self._credentials = credentials
        address = urlsplit(bucket_url)
        self._host = address.netloc.lower()
        self._path = address.path
        self._region = region
        self._signs_payload = signs_payload
        self._extra = extra

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str) -> str:
        """Writes a whole object; answers its entity tag, in quotes.

        Raises:
            OutOfTheOrdinary: aioboto3 should make this call.
            OSError: The store or the way to it failed.
        """
        headers = {
            "content-type": attributes.content_type,
            "content-disposition": attributes.content_disposition,
            "cache-control": attributes.cache_control,
            **{f"x-amz-meta-{name}": value for name, value in attributes.metadata.items()},
            **self._extra,
        }
        return await self._put(key, "", body, headers, checksum)

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str) -> str:
        """Sends a part; answers its entity tag, in quotes. Raises what `put` does."""
        query = f"partNumber={number}&uploadId={quote(upload.upload_id, safe='-_.~')}"
        return await self._put(upload.key, query, body, {}, checksum)

    async def _put(self, key: str, query: str, body: Body, headers: Mapping[str, str], checksum: str) -> str:
        path = f"{self._path}/{quote(key, safe=SAFE)}"
        everything = signed(
            "PUT",
            path,
            query,
            {"host": self._host, "content-length": str(len(body)), _CHECKSUM_HEADER: checksum, **headers},
            payload=await body.sha256() if self._signs_payload else UNSIGNED,
            region=self._region,
            credentials=await self._credentials.get_frozen_credentials(),
            time=datetime.now(UTC),
        )
        target = f"{path}?{query}" if query else path
        answer = await self._wire.put(target, everything, body)
        if answer.status >= _SERVER_FAULT and answer.status != _NOT_IMPLEMENTED:
            raise ServerFault(f"the store answered {answer.status}")
        if answer.status != _SUCCESS or "etag" not in answer.headers:
            raise OutOfTheOrdinary(f"the store answered {answer.status}")
        return answer.headers["etag"]


@asynccontextmanager
async def open_lean_put(
    session: "aioboto3.Session",
    client: "S3Client",
    *,
    bucket: str,
    signs_payload: bool,
    extra: Mapping[str, str],
    limits: Limits,
) -> AsyncIterator[LeanPut | None]:
    """Lean PUTs to the bucket that `client` would reach, for as long as the block lasts.

    None without credentials, and where a proxy stands before the store: aioboto3 then carries everything.
    """
    credentials = await cast("Any", session.get_credentials())  # the stubs do not know that it is awaited
    if credentials is None:
        yield None
        return
    probe = await client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
    bucket_url = probe.partition("?")[0].removesuffix(f"/{_PROBE}")
    if get_environ_proxies(bucket_url):
        yield None
        return
    address = urlsplit(bucket_url)
    is_https = address.scheme == "https"
    wire = Wire(
        address.hostname or "",
        address.port or (443 if is_https else 80),
        tls=_trust() if is_https else None,
        limits=limits,
    )
    try:
        yield LeanPut(
            wire,
            credentials,
            bucket_url=bucket_url,
            region=client.meta.region_name,
            signs_payload=signs_payload,
            extra=extra,
        )
    finally:
        wire.close()


def _trust() -> ssl.SSLContext:
    """What botocore trusts, and nobody else: `AWS_CA_BUNDLE`, a profile's bundle, or the one it brings."""
    bundle = AioSession().get_config_variable("ca_bundle") or get_cert_path(verify=True)
    context = ssl.create_default_context(cafile=str(bundle))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python's own from 3.13 on; botocore takes certificates without it
    return context
