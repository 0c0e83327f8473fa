"""The two calls that carry a photo's bytes, PutObject and UploadPart, without what botocore puts around them.

A PUT through botocore costs nearly three times the CPU of one from here (docs/benchmarks.md, "One PUT"): it resolves
its endpoint rules anew for every key, rebuilds its user agent, walks its hooks. What has to be right stays botocore's
own: the credentials with their refresh, the signer, and the bucket's address, for which it is asked once. So does all
that is out of the ordinary. An answer that is neither success nor a fault of the server's (a redirect to another
region, a clock that is off, a condition that failed) is `OutOfTheOrdinary`, upon which the caller makes the same call
through aioboto3, and that answer counts.

The checksum is required: over TLS it stands in for a signature of the body, which is botocore's own rule.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

import aiohttp
from aiobotocore.session import AioSession
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from yarl import URL

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.bodies import SLICE_BYTES, Sliced
from recipe_api.storage.protocol import Attributes, Body, Upload

if TYPE_CHECKING:
    import aioboto3
    from types_aiobotocore_s3.client import S3Client

_PROBE = "probe"
_SUCCESS, _SERVER_FAULT, _NOT_IMPLEMENTED = 200, 500, 501
_CHECKSUM_HEADER = "x-amz-checksum-crc32"
_CONTEXT = {
    "has_streaming_input": True,
    "checksum": {"request_algorithm": {"in": "header", "name": _CHECKSUM_HEADER}},
}
"""What botocore's signer goes by when it leaves a body unsigned over TLS, and signs it over plain HTTP."""


class OutOfTheOrdinary(Exception):
    """The answer was neither success nor a fault of the server's."""


class ServerFault(aiohttp.ClientError):
    """The store answered with a status of 500 or above; the same call may succeed in a moment."""


class LeanPut:
    """Signed PUTs to one bucket; see `open_lean_put`.

    Args:
        session: Carries them.
        credentials: botocore's; asked before each call, so that they are refreshed when due.
        bucket_url: The bucket's address, without a slash at its end.
        region: For the signature.
        proxy: The proxy on the way there, if there is one.
        extra: Headers of every object, such as the condition that it is new.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: Any,  # noqa: ANN401 - aiobotocore names no type for all its kinds of credentials
        *,
        bucket_url: str,
        region: str,
        proxy: str | None,
        extra: Mapping[str, str],
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._bucket_url = bucket_url
        self._region = region
        self._proxy = proxy
        self._extra = extra

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str) -> str:
        """Writes a whole object; answers its entity tag, in quotes.

        Raises:
            OutOfTheOrdinary: aioboto3 should make this call.
            aiohttp.ClientError: The store or the way to it failed.
        """
        headers = {
            "Content-Type": attributes.content_type,
            "Content-Disposition": attributes.content_disposition,
            "Cache-Control": attributes.cache_control,
            **{f"x-amz-meta-{name}": value for name, value in attributes.metadata.items()},
            **self._extra,
            _CHECKSUM_HEADER: checksum,
        }
        return await self._put(quote(key, safe=SAFE), body, headers)

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str) -> str:
        """Sends a part; answers its entity tag, in quotes. Raises what `put` does."""
        query = f"partNumber={number}&uploadId={quote(upload.upload_id, safe='-_.~')}"
        return await self._put(f"{quote(upload.key, safe=SAFE)}?{query}", body, {_CHECKSUM_HEADER: checksum})

    async def _put(self, path: str, body: Body, headers: dict[str, str]) -> str:
        url = f"{self._bucket_url}/{path}"
        request = AWSRequest("PUT", url, headers=headers | {"Content-Length": str(len(body))}, data=body)
        request.context.update(_CONTEXT)
        S3SigV4Auth(await self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        async with self._session.put(
            URL(url, encoded=True),
            data=body if len(body) <= SLICE_BYTES else Sliced(body),
            headers=dict(request.headers.items()),
            allow_redirects=False,
            proxy=self._proxy,
        ) as answer:
            if answer.status >= _SERVER_FAULT and answer.status != _NOT_IMPLEMENTED:
                raise ServerFault(f"the store answered {answer.status}")
            if answer.status != _SUCCESS or "ETag" not in answer.headers:
                raise OutOfTheOrdinary(f"the store answered {answer.status}")
            return answer.headers["ETag"]


@asynccontextmanager
async def open_lean_put(
    session: "aioboto3.Session",
    client: "S3Client",
    *,
    bucket: str,
    extra: Mapping[str, str],
    limits: aiohttp.ClientTimeout,
    connections: int,
) -> AsyncIterator[LeanPut | None]:
    """Lean PUTs to the bucket that `client` would reach, for as long as the block lasts; None without credentials."""
    credentials = await cast("Any", session.get_credentials())  # the stubs do not know that it is awaited
    if credentials is None:
        yield None
        return
    probe = await client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _PROBE})
    bucket_url = probe.partition("?")[0].removesuffix(f"/{_PROBE}")
    host = urlsplit(bucket_url).netloc
    bucket_url = bucket_url.replace(host, host.lower(), 1)  # as it is signed
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=_trust() if bucket_url.startswith("https:") else True),
        timeout=limits,
        skip_auto_headers=["Accept-Encoding", "Content-Type"],  # which would go unsigned
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as http:
        yield LeanPut(
            http,
            credentials,
            bucket_url=bucket_url,
            region=client.meta.region_name,
            # Looked up once; aiohttp's own trust_env asks the environment anew in a thread for every request.
            proxy=ProxyConfiguration(get_environ_proxies(bucket_url)).proxy_url_for(bucket_url),
            extra=extra,
        )


def _trust() -> ssl.SSLContext:
    """What the system trusts, and what botocore does: `AWS_CA_BUNDLE`, a profile's bundle, or the one it brings."""
    context = ssl.create_default_context()
    bundle = Path(AioSession().get_config_variable("ca_bundle") or str(get_cert_path(verify=True)))
    if bundle.is_dir():
        context.load_verify_locations(capath=bundle)
    else:
        context.load_verify_locations(cafile=bundle)
    return context
