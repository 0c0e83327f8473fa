"""A request's body on its way from the socket to the app: the chunks as they came, none of them joined to another.

uvicorn stops reading when 64 KiB lie there unread, and goes on when the app has taken them. Where the bytes come faster
than that, each chunk costs a stop, a waking of the app and a start. So an app that has room for more says how much
(`recipe_api.asgi.WINDOW`). That much is read as it comes, into memory in which it may stay, and past the parser of
HTTP, which would copy it and has nothing to say about the midst of a body of known length. Beyond the window all is as
uvicorn does it, so what lies unread is bounded by the room that was given and one chunk besides.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recipe_api.asgi import WINDOW
from recipe_api.settings import KIB, MIB

FIRST_BLOCK_BYTES = 256 * KIB
BLOCK_BYTES = MIB
"""The largest block, for a body that has filled those before. Each costs the app some 50 µs, whatever its size."""
SPARSE_BYTES = 32 * KIB
"""A read that brings less is copied out, so that it does not hold a block of which it is a small part."""


class Inflow(asyncio.BufferedProtocol):
    """The body of one request. While it reads past the parser it is the connection's protocol.

    Args:
        http: The protocol of the connection, to which the request has just begun.
        at_end: Called when a body has ended that was read past the parser, and `http` is the protocol again.
    """

    def __init__(self, http: HttpToolsProtocol, *, at_end: Callable[[], None]) -> None:
        self._at_end = at_end
        self._http, self._cycle, self._flow = http, http.cycle, http.flow
        self._await_news = self._cycle.receive
        self._cycle.receive = self.receive  # type: ignore[method-assign]  # what the app is given
        self._extensions = {WINDOW: self.widen}
        cast("dict[str, Any]", http.scope)["extensions"] = self._extensions
        self._chunks: deque[bytes | memoryview] = deque()
        self._unread = 0
        self._received = 0
        self._window = 0
        self._length: int | None = None  # of the body, where it is read past the parser
        self._block_bytes = FIRST_BLOCK_BYTES
        self._block: memoryview | None = None
        self._filled = 0

    def widen(self, size: int) -> None:
        """Has `size` bytes more be read before they are asked for; `recipe_api.asgi.Widen`."""
        self._window += size
        if self._length is None and not self._cycle.disconnected and self._http.cycle is self._cycle:
            headers = self._cycle.scope["headers"]
            length = next((int(value) for name, value in headers if name == b"content-length"), 0)
            if length - self._received > HIGH_WATER_LIMIT:  # less is there at once, or comes slowly
                self._length = length
                self._hand_over(self)

    def take(self, chunk: bytes | memoryview) -> None:
        """A piece of the body has come."""
        self._received += len(chunk)
        if self._cycle.response_complete:
            return
        self._chunks.append(chunk)
        self._unread += len(chunk)
        if self._unread >= HIGH_WATER_LIMIT and self._received >= self._window:
            self._flow.pause_reading()
        self._cycle.message_event.set()

    async def receive(self) -> Any:  # noqa: ANN401 - a message of ASGI, and its body may be a view
        """ASGI's: the next chunk, at once where one is there; else uvicorn's answer, which waits and reads on."""
        if not self._chunks:
            message = await self._await_news()
            if not self._chunks or message["type"] != "http.request":
                return message
        elif self._cycle.disconnected or self._cycle.response_complete:
            return {"type": "http.disconnect"}
        chunk = self._chunks.popleft()
        self._unread -= len(chunk)
        self._cycle.message_event.clear()  # what it told of is now told
        more = self._cycle.more_body or bool(self._chunks)
        if not more:
            self.close()
        return {"type": "http.request", "body": chunk, "more_body": more}

    def close(self) -> None:
        """Lets go of what nobody will read any more. It and uvicorn would hold each other until the collector came."""
        vars(self._cycle).pop("receive", None)
        self._extensions.clear()
        self._chunks.clear()
        self._block = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's guess
        """Where the next bytes go: into what is left of a block, or into a new one; never beyond the body's end."""
        assert self._length is not None  # noqa: S101 - it is the protocol only then
        fitting = min(max(self._window - self._received, HIGH_WATER_LIMIT), self._length - self._received)
        if self._block is None:
            self._block = memoryview(bytearray(min(self._block_bytes, fitting)))
            self._filled = 0
        return self._block[self._filled : self._filled + fitting]  # of which small reads may have used some otherwise

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        assert self._block is not None  # noqa: S101 - it was given out
        end = self._filled + nbytes
        came = self._block[self._filled : end]
        if end == len(self._block):
            self._block, self._block_bytes = None, min(2 * self._block_bytes, BLOCK_BYTES)
        elif nbytes >= SPARSE_BYTES:
            self._filled = end
        else:
            came, self._block_bytes = memoryview(bytes(came)), HIGH_WATER_LIMIT
            if not self._filled:
                self._block = None
        self.take(came)
        if self._received == self._length:
            self._block = None
            self._hand_over(self._http)
            self._at_end()

    def _hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        transport = self._http.transport
        reading = transport.is_reading()
        transport.pause_reading()  # uvloop heeds a protocol's kind only when it begins to read
        transport.set_protocol(protocol)
        if reading:
            transport.resume_reading()

    def eof_received(self) -> None:
        """The protocol's; as for all else that is no body, `http` knows what to do."""
        self._http.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The protocol's."""
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        """The protocol's."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """The protocol's."""
        self._http.resume_writing()
