"""A minimal HTTP/1.1 connection pool: PUT and POST with short responses, one request at a time on each connection.

Implementation: a large body is written to the transport in pieces, without copies, as fast as the server reads them.

Considerations: a response must never be taken for that of another request. So a connection is reused only after one
complete response to a request that was sent completely, and only if nothing has arrived since. A success response
received before the whole body was sent is treated as a failure; any other early response ends the sending and closes
the connection.

A server may close a kept connection at the moment it is reused. A PUT that fails only because of that is sent again,
on a new connection (RFC 9110 §9.2.2: PUT is idempotent); repeating a POST is left to the caller. aiohttp, a general
client, takes three times the CPU time for one request (docs/benchmarks.md, "One PUT"). This module supports neither
redirects, proxies, pipelining nor other methods.
"""

import asyncio
import re
import select
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import httptools

from recipe_api.storage.body import Body
from recipe_api.units import MIB

IDLE_SECONDS = 15
"""How long a connection may be idle: less than the 20 s after which S3 closes it."""
RESPONSE_BYTES = 16 * 1024
"""The maximum size of a response, headers and body. S3's responses to a PUT or a POST have about 1 KiB."""
JOINED_BYTES = 64 * 1024
"""The largest body that is copied behind its head: the copy costs less than one more packet."""
WRITE_BUFFER_BYTES = MIB
"""The write buffer of a transport over plain TCP, which should never run empty. On uvloop it holds no copies."""
TIMED_OUT = "the response timed out"
_HEADER_NAMES = re.compile(r"[a-z0-9-]+(?:\n[a-z0-9-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a connection pool."""

    connections: int
    """The maximum number of connections, including idle ones; further requests wait."""
    connect_seconds: float
    response_seconds: float
    """From the body's last byte, handed to the transport, to the end of the response."""


@dataclass(slots=True)
class Response:
    """A server's response. Header names are in lower case."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


class ConnectionLost(ConnectionError):
    """The connection ended before any byte of the response arrived."""


class Unreachable(ConnectionError):
    """No connection could be established, so nothing was sent."""


class ConnectionPool:
    """Connections to one server, over TLS if `tls` is given."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, limits: Limits) -> None:
        self._address = host, port
        self._tls, self._limits = tls, limits
        self._slots = asyncio.Semaphore(limits.connections)
        self._idle: deque[_Connection] = deque()  # the one that has been idle the longest is first
        self._expiry: asyncio.TimerHandle | None = None  # of that one
        self._closed = False

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
        head = _head("PUT", target, headers, length=len(body))
        async with self._slots:
            if (idle := self._take_idle()) is None:
                return await self._exchange(await self._connect_unsent(), head, body)
            with suppress(ConnectionLost):
                return await self._exchange(idle, head, body)
            return await self._exchange(await self._connect(), head, body)

    async def post(self, target: str, headers: Mapping[str, str], body: Body) -> Response:
        """Send a POST, once, and return the response; otherwise like `put`."""
        head = _head("POST", target, headers, length=len(body))
        async with self._slots:
            return await self._exchange(self._take_idle() or await self._connect_unsent(), head, body)

    def close(self) -> None:
        """Close idle connections now and those in use after their requests."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()  # the one used last, so that surplus connections expire
            if connection.is_unchanged():
                return connection
            connection.close()
        return None

    async def _connect_unsent(self) -> "_Connection":
        """Connect for a request of which nothing has been sent yet."""
        try:
            return await self._connect()
        except OSError as error:  # a TimeoutError is one
            raise Unreachable(str(error) or "connecting took too long") from error

    async def _connect(self) -> "_Connection":
        connecting = asyncio.get_running_loop().create_connection(_Connection, *self._address, ssl=self._tls)
        async with asyncio.timeout(self._limits.connect_seconds):
            return (await connecting)[1]

    async def _exchange(self, connection: "_Connection", head: bytes, body: Body) -> Response:
        try:
            response = await connection.exchange(head, body, response_seconds=self._limits.response_seconds)
        except BaseException:
            connection.close()
            raise
        if self._closed or not connection.is_reusable:
            connection.close()
        else:
            self._keep(connection)
        return response

    def _keep(self, connection: "_Connection") -> None:
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


def _head(method: str, target: str, headers: Mapping[str, str], *, length: int) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *map(": ".join, headers.items())]
    text = "".join(lines)
    if (
        not (text.isascii() and text.isprintable())  # so that no line ends early (RFC 9110 §5.5)
        or not _are_header_names(tuple(headers))
        or not target
        or " " in target
        or headers.get("content-length") != str(length)
    ):
        raise ValueError("the request head has invalid characters, or another length than the body")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


@lru_cache(maxsize=16)  # requests of the same kind have the same ones
def _are_header_names(names: tuple[str, ...]) -> bool:
    return _HEADER_NAMES.fullmatch("\n".join(names)) is not None


class _Connection(asyncio.Protocol):
    """One connection. `_fault` is why it cannot be reused: an exception's traceback would keep a body in memory."""

    _transport: asyncio.Transport
    idle_since: float
    """The event loop's time at the end of the last response."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._readable = select.poll()
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._response, self._allowance = Response(), RESPONSE_BYTES
        self._paused = False
        self._done = True  # no response is expected, or it is complete
        self._fault, self._is_lost = "", False

    async def exchange(self, head: bytes, body: Body, *, response_seconds: float) -> Response:
        """Send a request and return the response."""
        if self._fault or self._transport.is_closing():
            raise ConnectionLost(self._fault)
        self._response, self._allowance, self._done = Response(), RESPONSE_BYTES, False
        sent = await self._send(head, body)
        # Our own timer: asyncio.timeout takes three times as long, for what hardly ever happens.
        timer = self._loop.call_later(response_seconds, self._time_out)
        try:
            while not self._done:
                await self._wait()
        finally:
            timer.cancel()
        if self._fault == TIMED_OUT:
            raise TimeoutError(TIMED_OUT)
        if not self._response.status:
            raise (ConnectionLost if self._allowance == RESPONSE_BYTES else OSError)(self._fault)
        if not sent or self._transport.get_write_buffer_size():
            self._fault = "the server responded before it had the whole request"
            if self._response.status < 300:
                raise OSError(self._fault)
        return self._response

    async def _send(self, head: bytes, body: Body) -> bool:
        if len(body) <= JOINED_BYTES:
            self._transport.write(b"".join((head, *body.blocks())))
            return True
        self._transport.write(head)
        for piece in body.pieces() if self._copies else body.blocks():
            while self._paused and not self._done:
                await self._wait()
            if self._done:
                return False
            self._transport.write(piece)
        return True

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def _time_out(self) -> None:
        if not self._done:
            self._end(TIMED_OUT)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def is_reusable(self) -> bool:
        """Whether the last response was complete and the server keeps the connection open."""
        return not self._fault

    def is_unchanged(self) -> bool:
        """Return whether the connection is still open and has no unexpected data."""
        return not (self._fault or self._readable.poll(0))

    def close(self) -> None:
        """Abort the connection."""
        if not self._is_lost:  # after which asyncio's transport cannot be aborted
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._copies = transport.get_extra_info("sslcontext") is not None
        if not self._copies:
            self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._readable.register(transport.get_extra_info("socket"), select.POLLIN)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._done:
            self._end("the server sent data without a request")
            self.close()
            return
        fitting = data[: self._allowance]
        self._allowance -= len(data)
        try:
            self._parser.feed_data(fitting)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._response.status = 0  # even if one response was complete: the surplus may be the right one
            self._end(f"the server sent malformed HTTP: {error!r}")
        if self._allowance < 0:
            self._end("the response does not end")

    def eof_received(self) -> None:
        self._end("the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._end(f"the connection ended: {exc!r}")

    def _end(self, fault: str) -> None:
        self._fault, self._done = fault, True
        self._wake()

    def on_message_begin(self) -> None:
        if self._done:
            raise ValueError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._response.status:  # otherwise it is a trailer
            self._response.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self._fault = "the server closes the connection"

    def on_body(self, body: bytes) -> None:
        self._response.body += body

    def on_message_complete(self) -> None:
        if self._response.status >= 200:
            self._done = True
            self._wake()
        else:  # an interim response (RFC 9110 §15.2)
            self._response = Response()
