"""PUT and POST over HTTP/1.1 with as little as it takes: one request at a time on a connection, a short answer.

Implementation: a body that is not small goes to the transport piece by piece, none copied, as fast as the other side
takes them.

Considerations: an answer must never be taken for another request's. So a connection is used again only after one whole
answer to a request that had gone out whole, and if nothing has come since. A success that is told before the body has
gone out is none; any other answer ends the sending, and the connection with it.

A server may close a kept connection at the moment it is used again. A PUT that met nothing but that is sent once more,
on a new connection (RFC 9110 §9.2.2: it is idempotent); a POST is its caller's to repeat. A general client, aiohttp,
takes three times the CPU for one request (docs/benchmarks.md, "One PUT"); anything out of the ordinary is none of this
module's business.
"""

import asyncio
import re
import select
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import httptools

from recipe_api.settings import MIB
from recipe_api.storage.body import Body

IDLE_SECONDS = 15
"""Below the 20 s for which S3 keeps an idle connection."""
ANSWER_BYTES = 16 * 1024
"""The most that is read of an answer, headers and body together. S3's to a PUT or a POST have some 1 KiB."""
JOINED_BYTES = 64 * 1024
"""Up to this size a body is copied behind its head: that costs less than a packet, and a waking of the server, more."""
AHEAD_BYTES = MIB
"""How much a transport over plain TCP may hold of what the socket does not take yet, so that it is never empty. None of
it is a copy, on uvloop."""
LATE = "the answer does not come"
_NAMES = re.compile(r"[a-z0-9-]+(?:\n[a-z0-9-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the connections to a server may take."""

    connections: int
    """At once, idle ones among them; who comes beyond that waits."""
    connect_seconds: float
    answer_seconds: float
    """From when the transport has the body's last byte to the answer's end."""


@dataclass(slots=True)
class Answer:
    """What a server said to a request. Names of headers are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class ConnectionLost(ConnectionError):
    """The connection ended before the server had said anything."""


class Wire:
    """Connections to one server; `tls` says whom it trusts, None is plain HTTP."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, limits: Limits) -> None:
        self._address = host, port
        self._tls, self._limits = tls, limits
        self._free = asyncio.Semaphore(limits.connections)
        self._idle: deque[_Connection] = deque()
        self._closed = False

    async def put(self, target: str, headers: Mapping[str, str], body: Body) -> Answer:
        """Sends a PUT and waits for its answer; once more, where a kept connection ended before it said anything.

        How long the sending takes is the caller's to bound.

        Args:
            target: Path and query, as they go on the wire.
            headers: All of them, `host` and `content-length` among them; names of lower-case letters, digits, hyphens.
            body: Must not change meanwhile.

        Raises:
            OSError: The server cannot be reached, closed the connection, or does not speak HTTP as it should.
            TimeoutError: Connecting or answering took too long.
            ValueError: The target or a header holds what none can, or the body has another length.
        """
        head = _head("PUT", target, headers, length=len(body))
        async with self._free:
            if (kept := self._kept()) is not None:
                with suppress(ConnectionLost):
                    return await self._asked(kept, head, body)
            return await self._asked(await self._connected(), head, body)

    async def post(self, target: str, headers: Mapping[str, str], body: Body) -> Answer:
        """Sends a POST, once, and waits for its answer; for the rest, `put`."""
        head = _head("POST", target, headers, length=len(body))
        async with self._free:
            return await self._asked(self._kept() or await self._connected(), head, body)

    def close(self) -> None:
        """Closes the connections that are idle; those in use end with their requests."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> "_Connection | None":
        while self._idle:
            if (connection := self._idle.pop()).take():  # the last one used: the others may grow old and go
                return connection
            connection.close()
        return None

    async def _connected(self) -> "_Connection":
        connecting = asyncio.get_running_loop().create_connection(_Connection, *self._address, ssl=self._tls)
        async with asyncio.timeout(self._limits.connect_seconds):
            return (await connecting)[1]

    async def _asked(self, connection: "_Connection", head: bytes, body: Body) -> Answer:
        try:
            answer = await connection.ask(head, body, answer_seconds=self._limits.answer_seconds)
        except BaseException:
            connection.close()
            raise
        if self._closed or not connection.keep():
            connection.close()
        else:
            self._idle.append(connection)
        return answer


def _head(method: str, target: str, headers: Mapping[str, str], *, length: int) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
    told = "".join(lines)
    if (
        not (told.isascii() and told.isprintable())  # so that no line ends early (RFC 9110 §5.5)
        or not _NAMES.fullmatch("\n".join(headers))
        or not target
        or " " in target
        or headers.get("content-length") != str(length)
    ):
        raise ValueError("a head that holds what none can, or tells another length than the body's")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class _Connection(asyncio.Protocol):
    """One connection. It keeps no exception, whose traceback would keep a body: `_fault` says why its use has ended."""

    _transport: asyncio.Transport
    _expiry: asyncio.TimerHandle

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._readable = select.poll()
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] | None = None
        self._answer, self._room = Answer(), ANSWER_BYTES
        self._paused = False
        self._over = True  # nobody waits for an answer, or there is no more of it
        self._fault, self._gone = "", False

    async def ask(self, head: bytes, body: Body, *, answer_seconds: float) -> Answer:
        """Sends a request; answers what came back."""
        if self._fault or self._transport.is_closing():
            raise ConnectionLost(self._fault)
        self._answer, self._room, self._over = Answer(), ANSWER_BYTES, False
        sent = await self._send(head, body)
        # A timer of our own: asyncio.timeout would take three times as long for what hardly ever comes about.
        lateness = self._loop.call_later(answer_seconds, self._is_late)
        try:
            while not self._over:
                await self._change()
        finally:
            lateness.cancel()
        if self._fault == LATE:
            raise TimeoutError(LATE)
        if not self._answer.status:
            raise (ConnectionLost if self._room == ANSWER_BYTES else OSError)(self._fault)
        if not sent or self._transport.get_write_buffer_size():
            self._fault = "the server answered before it had the whole request"
            if self._answer.status < 300:
                raise OSError(self._fault)
        return self._answer

    async def _send(self, head: bytes, body: Body) -> bool:
        if len(body) <= JOINED_BYTES:
            self._transport.write(b"".join((head, *body.blocks())))
            return True
        self._transport.write(head)
        for piece in body.pieces() if self._copies else body.blocks():
            while self._paused and not self._over:
                await self._change()
            if self._over:
                return False
            self._transport.write(piece)
        return True

    async def _change(self) -> None:
        self._news = self._loop.create_future()
        await self._news

    def _is_late(self) -> None:
        if not self._over:
            self._end(LATE)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def keep(self) -> bool:
        """Keeps the connection for a while; False where it cannot be used again."""
        if self._fault:
            return False
        self._expiry = self._loop.call_later(IDLE_SECONDS, self.close)
        return True

    def take(self) -> bool:
        """Takes a kept connection into use; False where it is closed, or has something to say unasked."""
        self._expiry.cancel()
        return not (self._fault or self._readable.poll(0))

    def close(self) -> None:
        """Ends the connection, whatever is under way on it."""
        if not self._gone:  # asyncio's transport fails to be aborted after that
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._copies = transport.get_extra_info("sslcontext") is not None
        if not self._copies:
            self._transport.set_write_buffer_limits(high=AHEAD_BYTES)
        self._readable.register(transport.get_extra_info("socket"), select.POLLIN)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._tell()

    def data_received(self, data: bytes) -> None:
        if self._over:
            self._end("the server spoke unasked")
            self.close()
            return
        fitting = data[: self._room]
        self._room -= len(data)
        try:
            self._parser.feed_data(fitting)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._answer.status = 0  # also of a whole answer: what came after may be the one that was meant
            self._end(f"the server does not speak HTTP as it should: {error!r}")
        if self._room < 0:
            self._end("the server does not come to an end")

    def eof_received(self) -> None:
        self._end("the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._end(f"the connection ended: {exc!r}")

    def _end(self, fault: str) -> None:
        self._fault, self._over = fault, True
        self._tell()

    def on_message_begin(self) -> None:
        if self._over:
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._answer.status:  # else it is a trailer
            self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self._fault = "the server closes the connection"

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        if self._answer.status >= 200:
            self._over = True
            self._tell()
        else:  # an interim one (RFC 9110 §15.2)
            self._answer = Answer()
