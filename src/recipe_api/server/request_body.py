"""Reads a request's body from the socket and hands it to the app.

uvicorn stops reading when 64 KiB are unread, and resumes when the app has received them. With a fast client each chunk
then costs a pause, waking the app's task, and a resume. So an app that has memory for more may allow the server to read
ahead (`recipe_api.asgi.READ_AHEAD`). The bytes then go straight into memory in which the app can keep them. They bypass
the HTTP parser, which would copy them and has nothing to parse inside a body of known length.

Up to the limit nothing waits for the app. Beyond it, reading pauses as in uvicorn, so at most one more chunk is unread.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recipe_api.asgi import READ_AHEAD
from recipe_api.units import KIB, MIB

FIRST_BLOCK_BYTES = 256 * KIB
BLOCK_BYTES = MIB
"""The size of the largest block; each block is twice as large as the one that was filled before it. A block costs the
app about 50 µs, whatever its size."""
SMALL_BYTES = 32 * KIB
"""A read of fewer bytes is copied, so that it does not keep a whole block in memory. Unread chunks of fewer bytes are
joined."""


class RequestBody(asyncio.BufferedProtocol):
    """The body of one request. It replaces the connection's protocol while it bypasses the parser.

    It implements `recipe_api.read_ahead.ReadAhead`.

    Args:
        http: The protocol of the connection, which has just begun this request.
        length: The size of the body in bytes; 0 if unknown.
        at_end: Called at the end of a body that bypassed the parser, when `http` is the protocol again.
    """

    def __init__(self, http: HttpToolsProtocol, *, length: int, at_end: Callable[[], None]) -> None:
        self._at_end = at_end
        self._http, self._cycle, self._flow = http, http.cycle, http.flow
        self._receive_from_uvicorn = self._cycle.receive
        self._cycle.receive = self.receive  # type: ignore[method-assign]  # what the app is given
        self._extensions = {READ_AHEAD: self}
        http.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]  # stricter than ASGI
        self._chunks: deque[bytes | bytearray | memoryview] = deque()
        self._unread = 0
        self._received = 0
        self._allowed = 0
        self._length = length
        self._bypasses_parser = False
        self._block_bytes = FIRST_BLOCK_BYTES
        self._block: memoryview | None = None
        self._filled = 0

    def allow(self, size: int) -> None:
        """Let `size` more bytes be read before the app asks for them."""
        self._allowed += size
        left = self._length - self._received
        if left <= HIGH_WATER_LIMIT or self._bypasses_parser or self._cycle.disconnected:
            return  # a rest as short as this has arrived already, or its client is slow
        self._bypasses_parser = True
        self._http.transport.set_protocol(self)

    def stop(self) -> None:
        """Discard the unread bytes, and read no further than the app asks."""
        if self._cycle.more_body or self._chunks:
            self._allowed = self._unread = 0
            self._chunks.clear()
            self._block = None
            self._flow.pause_reading()
            self._cycle.message_event.set()  # a waiting `receive` checks whether more will come

    def feed(self, chunk: bytes | memoryview) -> None:
        """Add a chunk of the body that has arrived."""
        self._received += len(chunk)
        if self._cycle.response_complete:
            return
        self._append(chunk)
        self._unread += len(chunk)
        if self._unread >= HIGH_WATER_LIMIT and self._received >= self._allowed:
            self._flow.pause_reading()
        self._cycle.message_event.set()

    def _append(self, chunk: bytes | memoryview) -> None:
        if self._chunks and len(chunk) < SMALL_BYTES and len(self._chunks[-1]) < SMALL_BYTES:
            # One read may contain thousands of them, if the client sends its body in chunks of one byte.
            last = self._chunks[-1]
            if not isinstance(last, bytearray):
                self._chunks[-1] = last = bytearray(last)
            last += chunk
        else:
            self._chunks.append(chunk)

    async def receive(self) -> Any:  # noqa: ANN401 - a message of ASGI, and its body may be a view
        """Return the next chunk as an ASGI message, at once if there is one. Otherwise uvicorn waits and reads on."""
        if not self._chunks or self._cycle.response_complete:
            message = await self._receive_from_uvicorn()
            if not self._chunks or self._cycle.response_complete:
                if not message.get("more_body", False):
                    self.close()
                return message
        chunk = self._chunks.popleft()
        self._unread -= len(chunk)
        self._cycle.message_event.clear()  # the app now gets what it announced
        more = self._cycle.more_body or bool(self._chunks)
        if not more:
            self.close()
        body = bytes(chunk) if isinstance(chunk, bytearray) else chunk
        return {"type": "http.request", "body": body, "more_body": more}

    def close(self) -> None:
        """Release the chunks, and detach from the cycle."""
        self.detach()
        self._chunks.clear()

    def detach(self) -> None:
        """Break the reference cycle with uvicorn's objects, which would need the collector.

        An app that waits for the next chunk still gets those that arrived before the connection was lost.
        """
        vars(self._cycle).pop("receive", None)
        self._extensions.clear()
        self._block = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's guess
        """Return memory for the next read: the rest of a block, or a new one. It never extends beyond the body."""
        size = min(max(self._allowed - self._received, HIGH_WATER_LIMIT), self._length - self._received)
        if self._block is None:
            self._block = memoryview(bytearray(min(self._block_bytes, size)))
            self._filled = 0
        return self._block[self._filled : self._filled + size]

    def buffer_updated(self, nbytes: int) -> None:
        """Add the bytes that were read into the buffer."""
        assert self._block is not None  # noqa: S101 - `get_buffer` made it
        end = self._filled + nbytes
        chunk = self._block[self._filled : end]
        if end == len(self._block):
            self._block, self._block_bytes = None, min(2 * self._block_bytes, BLOCK_BYTES)
        elif nbytes >= SMALL_BYTES:
            self._filled = end
        else:
            chunk, self._block_bytes = memoryview(bytes(chunk)), HIGH_WATER_LIMIT
            if not self._filled:
                self._block = None
        self.feed(chunk)
        if self._received == self._length:
            self._block = None
            self._http.transport.set_protocol(self._http)
            self._at_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forward the event to the connection's own protocol, as do the methods below."""
        self._http.connection_lost(exc)

    def eof_received(self) -> None:
        self._http.eof_received()

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
