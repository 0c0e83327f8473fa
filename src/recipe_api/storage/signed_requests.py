"""Signed requests for the objects of one bucket, without botocore's overhead.

A PUT through botocore takes six times the CPU time of one from here (docs/benchmarks.md, "One PUT"): botocore resolves
its endpoint rules again for every key, rebuilds its user agent and runs its hooks. This module uses botocore for what
must be correct in every setup: the credentials, with their refresh, and the bucket's address, which it looks up once.

It handles only the usual responses: success and server errors. Any other response (a redirect to another region, a
wrong clock, a failed condition, a missing object) raises `NeedsSdk`.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from botocore.utils import get_environ_proxies

from recipe_api.storage.addresses import SAFE
from recipe_api.storage.body import Body
from recipe_api.storage.connection_pool import ConnectionPool, Limits, StreamedResponse
from recipe_api.storage.endpoint import Endpoint
from recipe_api.storage.fallback import NeedsSdk, UnreadableResponse
from recipe_api.storage.http_connection import Response
from recipe_api.storage.signature import EMPTY, sign
from recipe_api.storage.trust import store_trust

_OK, _NO_CONTENT, _REDIRECTION, _SERVER_ERROR, _NOT_IMPLEMENTED = 200, 204, 300, 500, 501


class ServerFault(OSError):
    """The store responded with a status of 500 or above; a retry may succeed."""


class SignedRequests:
    """Sends requests for one bucket; see `open_signed_requests`.

    Each method raises:

    NeedsSdk: aioboto3 must perform the operation.
    OSError: The store failed, or cannot be reached.
    TimeoutError: The response did not arrive in time.
    BotoCoreError: There are no valid credentials.

    Args:
        pool: Connections to the store.
        endpoint: The bucket. Its credentials are requested for each operation, so that they are refreshed when due.
    """

    def __init__(self, pool: ConnectionPool, endpoint: Endpoint) -> None:
        self.pool = pool
        self._endpoint = endpoint
        address = urlsplit(endpoint.bucket_url)
        self._host = address.netloc.lower()
        self._path = address.path

    async def put(self, key: str, query: str, headers: Mapping[str, str], body: Body, *, payload: str) -> Response:
        """Send a PUT.

        Args:
            key: The object.
            query: The escaped query, with its parameters sorted by name; may be empty.
            headers: All headers except those of the connection and the signature.
            body: The body.
            payload: The body's SHA-256 in hexadecimal, or `signature.UNSIGNED`.
        """
        path, with_length = self._path_of(key), {"content-length": str(len(body)), **headers}
        signed = await self._signed("PUT", path, query, with_length, payload)
        return _checked(await self.pool.put(f"{path}?{query}" if query else path, signed, body))

    async def post(self, key: str, query: str, headers: Mapping[str, str], body: Body) -> Response:
        """Send a POST."""
        path, with_length = self._path_of(key), {"content-length": str(len(body)), **headers}
        signed = await self._signed("POST", path, query, with_length, await body.sha256())
        return _checked(await self.pool.post(f"{path}?{query}", signed, body))

    async def delete(self, key: str) -> None:
        """Send a DELETE."""
        path = self._path_of(key)
        response = await self.pool.delete(path, await self._signed("DELETE", path, "", {}, EMPTY))
        _raise_for_status(response.status, success={_OK, _NO_CONTENT})

    async def check_bucket(self) -> None:
        """Send a HEAD for the bucket."""
        path = self._path or "/"
        response = await self.pool.head(path, await self._signed("HEAD", path, "", {}, EMPTY))
        _raise_for_status(response.status)

    async def get(self, key: str) -> StreamedResponse:
        """Send a GET and return the response, which declares its length. The caller must close it."""
        path = self._path_of(key)
        response = await self.pool.get(path, await self._signed("GET", path, "", {}, EMPTY))
        try:
            _raise_for_status(response.status)
            _check_length(response)
        except BaseException:
            await response.aclose()
            raise
        return response

    def _path_of(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe=SAFE)}"

    async def _signed(
        self, method: str, path: str, query: str, headers: Mapping[str, str], payload: str
    ) -> dict[str, str]:
        return sign(
            method,
            path,
            query,
            {"host": self._host, **headers},
            payload=payload,
            region=self._endpoint.region,
            credentials=await self._endpoint.credentials.get_frozen_credentials(),
            time=datetime.now(UTC),
        )


def _checked(response: Response) -> Response:
    _raise_for_status(response.status)
    return response


def _raise_for_status(status: int, *, success: Collection[int] = (_OK,)) -> None:
    if status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED:
        raise ServerFault(f"the store responded with status {status}")
    if status not in success:
        error = UnreadableResponse if status < _REDIRECTION else NeedsSdk
        raise error(f"the store responded with status {status}")


def _check_length(response: StreamedResponse) -> None:
    if b"content-length" not in response.headers:  # without it, a truncated body could go unnoticed
        raise UnreadableResponse("the store's response has no Content-Length")


@asynccontextmanager
async def open_signed_requests(
    endpoint: Endpoint, *, bundle: str, limits: Limits
) -> AsyncIterator[SignedRequests | None]:
    """Yield a client for the bucket at this endpoint; its connections close with the block.

    Yield None if an HTTP proxy is configured for the store: only aioboto3 supports proxies.
    """
    if get_environ_proxies(endpoint.bucket_url):
        yield None
        return
    address = urlsplit(endpoint.bucket_url)
    is_https = address.scheme == "https"
    pool = ConnectionPool(
        address.hostname or "",
        address.port or (443 if is_https else 80),
        tls=store_trust(bundle) if is_https else None,
        limits=limits,
    )
    try:
        yield SignedRequests(pool, endpoint)
    finally:
        pool.close()
