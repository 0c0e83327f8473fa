"""A request's body on its way from the socket to the app: the chunks as they came, only small ones joined.

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
from recipe_api.units import KIB, MIB

FIRST_BLOCK_BYTES = 256 * KIB
BLOCK_BYTES = MIB
"""The largest block, for a body that has filled those before. Each costs the app some 50 µs, whatever its size."""
SPARSE_BYTES = 32 * KIB
"""A read that brings less is copied out, so that it does not hold a block of which it is a small part; and what less
than that lies unread is joined by what comes next, if that is no more."""


class Inflow(asyncio.BufferedProtocol):
    """The body of one request. While it reads past the parser it is the connection's protocol.

    Args:
        http: The protocol of the connection, to which the request has just begun.
        length: Bytes of the body; 0 where its head does not tell.
        at_end: Called when a body has ended that was read past the parser, and `http` is the protocol again.
    """

    def __init__(self, http: HttpToolsProtocol, *, length: int, at_end: Callable[[], None]) -> None:
        self._at_end = at_end
        self._http, self._cycle, self._flow = http, http.cycle, http.flow
        self._await_news = self._cycle.receive
        self._cycle.receive = self.receive  # type: ignore[method-assign]  # what the app is given
        self._extensions = {WINDOW: self}
        cast("dict[str, Any]", http.scope)["extensions"] = self._extensions
        self._chunks: deque[bytes | bytearray | memoryview] = deque()
        self._unread = 0
        self._received = 0
        self._window = 0
        self._length = length
        self._direct = False  # past the parser
        self._block_bytes = FIRST_BLOCK_BYTES
        self._block: memoryview | None = None
        self._filled = 0

    def widen(self, size: int) -> None:
        """Has `size` bytes more be read before they are asked for; `recipe_api.asgi.Window`."""
        self._window += size
        left = self._length - self._received
        if left > HIGH_WATER_LIMIT and not (self._direct or self._cycle.disconnected):  # less is there, or comes slowly
            self._direct = True
            self._http.transport.set_protocol(self)

    def shut(self) -> None:
        """Lets go of what lies unread, and reads no further than it is asked; `recipe_api.asgi.Window`."""
        if self._cycle.more_body or self._chunks:
            self._window = self._unread = 0
            self._chunks.clear()
            self._block = None
            self._flow.pause_reading()
            self._cycle.message_event.set()  # whoever reads on learns whether more will come

    def take(self, chunk: bytes | memoryview) -> None:
        """A piece of the body has come."""
        self._received += len(chunk)
        if self._cycle.response_complete:
            return
        self._keep(chunk)
        self._unread += len(chunk)
        if self._unread >= HIGH_WATER_LIMIT and self._received >= self._window:
            self._flow.pause_reading()
        self._cycle.message_event.set()

    def _keep(self, chunk: bytes | memoryview) -> None:
        if self._chunks and len(chunk) < SPARSE_BYTES and len(self._chunks[-1]) < SPARSE_BYTES:
            # Thousands of them come out of one read where a client codes its body in chunks of a byte.
            last = self._chunks[-1]
            if not isinstance(last, bytearray):
                self._chunks[-1] = last = bytearray(last)
            last += chunk
        else:
            self._chunks.append(chunk)

    async def receive(self) -> Any:  # noqa: ANN401 - a message of ASGI, and its body may be a view
        """ASGI's: the next chunk, at once where one is there; else uvicorn's answer, which waits and reads on."""
        if not self._chunks or self._cycle.response_complete:
            message = await self._await_news()
            if not self._chunks or message["type"] != "http.request":
                if not message.get("more_body", False):
                    self.close()
                return message
        chunk = self._chunks.popleft()
        self._unread -= len(chunk)
        self._cycle.message_event.clear()  # what it told of is now told
        more = self._cycle.more_body or bool(self._chunks)
        if not more:
            self.close()
        body = bytes(chunk) if isinstance(chunk, bytearray) else chunk
        return {"type": "http.request", "body": body, "more_body": more}

    def close(self) -> None:
        """Lets go of what nobody will read any more. It and uvicorn would hold each other until the collector came."""
        vars(self._cycle).pop("receive", None)
        self._extensions.clear()
        self._chunks.clear()
        self._block = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's guess
        """Where the next bytes go: into what is left of a block, or into a new one; never beyond the body's end."""
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
            self._http.transport.set_protocol(self._http)
            self._at_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The protocol's; as for all else that is no body, `http` knows what to do."""
        self._http.connection_lost(exc)

    def eof_received(self) -> None:
        """The protocol's."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """The protocol's."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """The protocol's."""
        self._http.resume_writing()
