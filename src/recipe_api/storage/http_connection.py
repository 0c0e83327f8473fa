"""One HTTP/1.1 connection: sends one request at a time, and receives a response that is short or read in chunks.

Implementation: a large request body is written to the transport in pieces, without copies, as fast as the server reads
them. The body of a response that is read in chunks bypasses the parser, which would copy it and has nothing to parse
inside a body of known length. While too much of it is unread, nothing more is read from the socket.

Considerations: a response must never be taken for that of another request. So a connection can be reused only after one
complete response to a request that was sent completely, and only if nothing has arrived since. A success response
received before the whole request was sent is treated as a failure; any other early response ends the sending.
"""

import asyncio
import select
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import httptools

from recipe_api.storage.body import Body
from recipe_api.units import KIB, MIB

RESPONSE_BYTES = 16 * KIB
"""The maximum size of a short response, headers and body, and of the head of any other. S3's responses to a PUT or a
POST have about 1 KiB."""
JOINED_BYTES = 64 * KIB
"""The largest body that is copied behind its head: the copy costs less than one more packet."""
WRITE_BUFFER_BYTES = MIB
"""The write buffer of a transport over plain TCP, which should never run empty. On uvloop it holds no copies."""
UNREAD_BYTES = 128 * KIB
"""Reading from the socket pauses while more than this is unread. The excess is at most one chunk: up to 256 KiB, or
512 KiB over TLS, whose layer has its own buffer."""
TIMED_OUT = "the response timed out"


@dataclass(slots=True)
class Response:
    """A server's response. Header names are in lower case."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    """Empty if the body is read in chunks."""


class ConnectionLost(ConnectionError):
    """The connection ended before any byte of the response arrived."""


class HttpConnection(asyncio.Protocol):
    """One connection. `_fault` says why it cannot be reused. It is text: a traceback would keep a body in memory."""

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
        self._done = True  # no response is expected, or nothing more of it
        self._fault, self._is_lost = "", False
        self._in_chunks = False  # whether the response is read in chunks
        self._has_begun = False  # whether the head of such a response is complete
        self._is_whole = False  # whether its body is
        self._left = 0  # the bytes of its body that have not arrived
        self._chunks: deque[bytes] = deque()
        self.unread = 0
        """The number of bytes of a body that have arrived and have not been read."""

    async def exchange(self, head: bytes, body: Body, *, response_seconds: float) -> Response:
        """Send a request and return its response, which must be short."""
        self._expect(in_chunks=False)
        sent = await self._send(head, body)
        await self._wait_until_begun(response_seconds)
        if not sent or self._transport.get_write_buffer_size():
            self._fault = "the server responded before it had the whole request"
            if self._response.status < 300:
                raise OSError(self._fault)
        return self._response

    async def begin(self, head: bytes, *, response_seconds: float) -> Response:
        """Send a request without a body, and return the response when its head has arrived. `read` returns its body."""
        self._expect(in_chunks=True)
        self._transport.write(head)
        await self._wait_until_begun(response_seconds)
        return self._response

    async def read(self, *, seconds: float) -> bytes:
        """Return the next bytes of the body of a response that has begun; empty at the end of a complete one.

        Raises:
            OSError: The body ended early, or the server violated HTTP.
            TimeoutError: No byte of it arrived in time.
        """
        if not self._chunks and not self._done:
            timer = self._loop.call_later(seconds, self._time_out)
            try:
                while not self._chunks and not self._done:
                    await self._wait()
            finally:
                timer.cancel()
        if self._chunks:
            return self._next_chunk()
        if not self._is_whole:
            raise (TimeoutError if self._fault == TIMED_OUT else OSError)(self._fault)
        return b""

    def _expect(self, *, in_chunks: bool) -> None:
        if self._fault or self._transport.is_closing():
            raise ConnectionLost(self._fault)
        self._response, self._allowance, self._done = Response(), RESPONSE_BYTES, False
        self._in_chunks, self._has_begun, self._is_whole = in_chunks, False, False

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

    async def _wait_until_begun(self, seconds: float) -> None:
        """Wait for a complete short response, or for the head of any other."""
        # A plain timer: asyncio.timeout takes three times as long, for a case that hardly ever occurs.
        timer = self._loop.call_later(seconds, self._time_out)
        try:
            while not self._done and not self._has_begun:
                await self._wait()
        finally:
            timer.cancel()
        if self._fault == TIMED_OUT:
            raise TimeoutError(TIMED_OUT)
        if not self._response.status:
            raise (ConnectionLost if self._allowance == RESPONSE_BYTES else OSError)(self._fault)

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
        """Whether the last response was complete and was read, and the server keeps the connection open."""
        return not self._fault and (self._is_whole and not self._chunks if self._in_chunks else self._done)

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
        elif self._left:
            self._receive(data)
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        fitting = data if self._in_chunks else data[: self._allowance]
        self._allowance -= len(data)
        try:
            self._parser.feed_data(fitting)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._response.status = 0  # even after a complete response: the excess may be the right one
            self._is_whole = False
            self._end(f"the server sent malformed HTTP: {error!r}")
        if self._allowance < 0 and not self._has_begun:
            self._end("the response does not end")

    def _receive(self, data: bytes) -> None:
        """Receive more of a body that bypasses the parser."""
        if len(data) > self._left:
            self._left = 0
            self._end("the server sent malformed HTTP: more than the response")
            return
        self._left -= len(data)
        if not self._left:
            self._parser = httptools.HttpResponseParser(self)  # the old one still waits for this body
            self._is_whole = self._done = True
        self._add_chunk(data)

    def _add_chunk(self, data: bytes) -> None:
        self._chunks.append(data)
        self.unread += len(data)
        if self.unread > UNREAD_BYTES and not self._transport.is_closing():
            self._transport.pause_reading()
        self._wake()

    def _next_chunk(self) -> bytes:
        chunk = self._chunks.popleft()
        was_paused = self.unread > UNREAD_BYTES
        self.unread -= len(chunk)
        if was_paused and self.unread <= UNREAD_BYTES and not self._transport.is_closing():
            self._transport.resume_reading()
        return chunk

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
        if self._in_chunks and self._response.status >= 200:
            self._has_begun = True
            self._left = int(self._response.headers.get(b"content-length", b"0"))
            self._wake()

    def on_body(self, body: bytes) -> None:
        if self._in_chunks:
            self._left = max(self._left - len(body), 0)
            self._add_chunk(body)
        else:
            self._response.body += body

    def on_message_complete(self) -> None:
        if self._response.status >= 200:
            self._left = 0
            self._is_whole = self._done = True
            self._wake()
        else:  # an interim response (RFC 9110 §15.2)
            self._response = Response()
