"""A minimal HTTP/1.1 connection pool for PUT, POST, DELETE, GET and HEAD. A connection serves one request at a time.

A server may close a kept connection at the moment it is reused. A request that fails only because of that is sent
again, on a new connection (RFC 9110 §9.2.2: PUT, DELETE, GET and HEAD are idempotent); repeating a POST is left to the
caller. aiohttp, a general client, takes three times the CPU time for one request (docs/benchmarks.md, "One PUT"). This
module supports neither redirects, proxies, pipelining nor other methods.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeVar

from recipe_api.storage.body import Body
from recipe_api.storage.http_connection import ConnectionLost, HttpConnection, Response

IDLE_SECONDS = 15
"""How long a connection may be idle: less than the 20 s after which S3 closes it."""
_PRINTABLE = bytes(range(0x20, 0x7F))
_HEADER_NAMES = re.compile(r"[a-z0-9-]+(?:\n[a-z0-9-]+)*")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a connection pool."""

    connections: int
    """The maximum number of connections, including idle ones; further requests wait."""
    connect_seconds: float
    response_seconds: float
    """The time from passing the last byte of the request to the transport to the end of a short response, or to the
    head of a streamed one. It also limits the wait for each chunk of a streamed response."""


class Unreachable(ConnectionError):
    """No connection could be established, so nothing was sent."""


class ConnectionPool:
    """Connections to one server, over TLS if `tls` is given."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, limits: Limits) -> None:
        self._address = host, port
        self._tls, self._limits = tls, limits
        self._slots = asyncio.Semaphore(limits.connections)
        self._idle: deque[HttpConnection] = deque()  # the one that has been idle the longest is first
        self._expiry: asyncio.TimerHandle | None = None  # of that one
        self._closed = False
        self.used = 0
        """The number of connections that are in use."""

    @property
    def idle(self) -> int:
        """The number of connections that are kept for the next request."""
        return len(self._idle)

    async def put(self, target: str, headers: Mapping[str, str], body: Body) -> Response:
        """Send a PUT and return the response. Send it once more if a kept connection turns out to be closed.

        The caller limits the time for sending.

        Args:
            target: Path and query, escaped.
            headers: All headers, with `host` and `content-length`; names have lower-case letters, digits and hyphens.
            body: Must not change until the response has arrived.

        Raises:
            Unreachable: The server cannot be reached, and nothing was sent.
            OSError: The server cannot be reached, closed the connection, or violated HTTP.
            TimeoutError: Connecting again took too long, or the response did.
            ValueError: The target or a header is invalid, or the body's length differs from `content-length`.
        """
        return await self._send_idempotent(_head("PUT", target, headers, length=len(body)), body)

    async def delete(self, target: str, headers: Mapping[str, str]) -> Response:
        """Send a DELETE and return the response; otherwise like `put`. Its headers have no `content-length`."""
        return await self._send_idempotent(_head("DELETE", target, headers, length=None), Body())

    async def post(self, target: str, headers: Mapping[str, str], body: Body) -> Response:
        """Send a POST, once, and return the response; otherwise like `put`."""
        head = _head("POST", target, headers, length=len(body))
        async with self._slots:
            return await self._exchange(head, body, self._take_idle() or await self._connect_unsent())

    async def get(self, target: str, headers: Mapping[str, str]) -> "StreamedResponse":
        """Send a GET and return the response when its head has arrived; otherwise like `delete`.

        The caller must close the response, which occupies a connection slot until then.
        """
        return await self._stream("GET", target, headers)

    async def _stream(self, method: str, target: str, headers: Mapping[str, str]) -> "StreamedResponse":
        head = _head(method, target, headers, length=None)
        await self._slots.acquire()
        try:
            return await self._on_open_connection(partial(self._begin, head))
        except BaseException:
            self._slots.release()
            raise

    async def head(self, target: str, headers: Mapping[str, str]) -> Response:
        """Send a HEAD and return the response; otherwise like `delete`.

        Unless the response declares an empty body, its connection is closed, because the parser waits for the body.
        """
        response = await self._stream("HEAD", target, headers)
        await response.aclose()
        return Response(response.status, response.headers)

    def close(self) -> None:
        """Close idle connections now and those in use after their requests."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> HttpConnection | None:
        while self._idle:
            connection = self._idle.pop()  # the one used last, so that surplus connections expire
            if connection.is_unchanged():
                return connection
            connection.close()
        return None

    async def _connect_unsent(self) -> HttpConnection:
        """Connect for a request of which nothing has been sent yet."""
        try:
            return await self._connect()
        except OSError as error:  # a TimeoutError is one
            raise Unreachable(str(error) or "connecting took too long") from error

    async def _connect(self) -> HttpConnection:
        connecting = asyncio.get_running_loop().create_connection(HttpConnection, *self._address, ssl=self._tls)
        async with asyncio.timeout(self._limits.connect_seconds):
            return (await connecting)[1]

    async def _send_idempotent(self, head: bytes, body: Body) -> Response:
        async with self._slots:
            return await self._on_open_connection(partial(self._exchange, head, body))

    async def _on_open_connection(self, send: Callable[[HttpConnection], Awaitable[Result]]) -> Result:
        """Send an idempotent request, once more if the server has just closed the connection."""
        if (idle := self._take_idle()) is None:
            return await send(await self._connect_unsent())
        with suppress(ConnectionLost):
            return await send(idle)
        return await send(await self._connect())

    async def _exchange(self, head: bytes, body: Body, connection: HttpConnection) -> Response:
        self.used += 1
        try:
            response = await connection.exchange(head, body, response_seconds=self._limits.response_seconds)
        except BaseException:
            self._drop(connection)
            raise
        self._take_back(connection)
        return response

    async def _begin(self, head: bytes, connection: HttpConnection) -> "StreamedResponse":
        seconds = self._limits.response_seconds
        self.used += 1
        try:
            response = await connection.begin(head, response_seconds=seconds)
        except BaseException:
            self._drop(connection)
            raise
        return StreamedResponse(connection, response, seconds=seconds, at_end=self._end_streaming)

    def _end_streaming(self, connection: HttpConnection) -> None:
        self._take_back(connection)
        self._slots.release()

    def _take_back(self, connection: HttpConnection) -> None:
        if self._closed or not connection.is_reusable:
            self._drop(connection)
        else:
            self.used -= 1
            self._keep(connection)

    def _drop(self, connection: HttpConnection) -> None:
        self.used -= 1
        connection.close()

    def _keep(self, connection: HttpConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._expiry is None:
            self._expiry = loop.call_later(IDLE_SECONDS, self._close_expired)

    def _close_expired(self) -> None:
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + IDLE_SECONDS <= loop.time():
            self._idle.popleft().close()
        if self._idle:
            self._expiry = loop.call_at(self._idle[0].idle_since + IDLE_SECONDS, self._close_expired)
        else:
            self._expiry = None


class StreamedResponse:
    """A response whose body is streamed.

    Args:
        connection: Has received the head of the response.
        response: The head.
        seconds: The timeout for each chunk.
        at_end: Returns the connection to the pool.
    """

    def __init__(
        self,
        connection: HttpConnection,
        response: Response,
        *,
        seconds: float,
        at_end: Callable[[HttpConnection], None],
    ) -> None:
        self.status, self.headers = response.status, response.headers
        self._connection: HttpConnection | None = connection
        self._seconds = seconds
        self._at_end = at_end

    async def read(self) -> bytes:
        """Return the next bytes, at most 512 KiB; empty at the end.

        Raises:
            OSError: The body ended early, the server violated HTTP, or the response was closed.
            TimeoutError: No byte arrived in time.
        """
        if self._connection is None:
            raise OSError("the response is closed")
        return await self._connection.read(seconds=self._seconds)

    async def aclose(self) -> None:
        """Return the connection to the pool. It can be reused if the body was read to the end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._at_end(connection)


def _head(method: str, target: str, headers: Mapping[str, str], *, length: int | None) -> bytes:
    declared = None if length is None else str(length)
    lines = [f"{method} {target} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
    head = "\r\n".join(lines).encode()
    if (
        head.translate(None, _PRINTABLE) != b"\r\n" * (len(lines) - 1)  # so that no line ends early (RFC 9110 §5.5)
        or not _are_header_names(tuple(headers))
        or not target
        or " " in target
        or headers.get("content-length") != declared
    ):
        raise ValueError("the request head has invalid characters, or another length than the body")
    return head


@lru_cache(maxsize=16)  # requests of the same kind have the same ones
def _are_header_names(names: tuple[str, ...]) -> bool:
    return _HEADER_NAMES.fullmatch("\n".join(names)) is not None
