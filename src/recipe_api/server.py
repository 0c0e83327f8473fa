"""How uvicorn serves the app, wherever it listens: on a dyno, on a laptop, in tests.

uvicorn bounds neither the size of a request's head nor the time it may take: `BoundedHttp` does. A dyno's router bounds
both, but the service is to stand without one. What is no HTTP is told by a problem document, as all else that is
refused.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from recipe_api.errors import HeadersTooLarge, RequestRefused
from recipe_api.settings import KIB, Settings

KEEP_ALIVE_SECONDS = 95
"""Above the 90 s for which Heroku's router keeps an idle connection: else it may pick one that is just closing."""
GRACEFUL_SECONDS = 17
"""How long uploads may go on after SIGTERM. Heroku kills at 30 s; aborting the rest and undoing it takes up to 8."""

MAX_HEAD_BYTES = 64 * KIB
"""Of a request's line and headers. What one read of the socket brings is taken as it is."""
HEAD_SECONDS = 20
"""From a head's first byte to its last."""
LINGER_SECONDS = 2
"""How long a client that was refused may go on sending, so that it sees the answer and no reset (RFC 9112 §9.6)."""


def server_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "loop": "auto",
        "http": BoundedHttp,
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": True,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds on the heads of requests."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = False
        self._refused = False
        self._progressed = False
        self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)  # until a first request begins

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._progressed = False
        super().data_received(data)
        self._watch(len(data))

    def _watch(self, received: int) -> None:
        if self._refused:  # by the parser, just now
            return
        # Heads, and what comes after a body's last chunk: trailers, of which nobody here reads any.
        self._head_bytes = 0 if self._progressed else self._head_bytes + received
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadersTooLarge(f"The request's line and headers may have {MAX_HEAD_BYTES} bytes."))
        elif self.timeout_keep_alive_task is None and not self._in_head and not self._answering():
            # Something came that begins no request, and uvicorn has ended its own watch.
            self._timer.cancel()
            self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        if not self._refused:
            # uvicorn would copy the chunk into a bytearray, and that into the bytes which it hands on. Added to empty
            # bytes, in place of an empty bytearray, the chunk itself goes all the way; more of them go as they went.
            there: bytes | bytearray = self.cycle.body
            if not there:
                self.cycle.body = b""  # type: ignore[assignment]
            elif isinstance(there, bytes):
                self.cycle.body = bytearray(there)
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._progressed = True
        if not self._refused:
            super().on_message_complete()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._timer.cancel()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._answering():  # the one before, and nobody reads on meanwhile
            self._timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        else:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._timer.cancel()
        names = {name for name, _ in self.headers}
        if self.parser.should_upgrade() and not names.isdisjoint({b"content-length", b"transfer-encoding"}):
            # The parser would take the body for a next request.
            self._refuse(RequestRefused("A request with a body cannot ask for another protocol; leave Upgrade out."))
            return
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """The answer of uvicorn to what is no HTTP."""
        self._refuse(RequestRefused(msg))

    def _refuse(self, error: RequestRefused) -> None:
        self._refused = True
        self._timer.cancel()
        answering = self._answering()
        if answering and not self.cycle.more_body:
            self.cycle.keep_alive = False  # what is no HTTP follows a whole request: that one's answer is the last
            return
        if not (answering and self.cycle.response_started):
            self.transport.write(_answer(error))
        if answering:
            self.transport.close()  # after what was written; the app learns that nobody sends any more
        else:
            self.transport.write_eof()
            self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        return cycle is not None and not cycle.response_complete


def _answer(error: RequestRefused) -> bytes:
    document = {"type": f"/problems/{error.code}", "title": error.title, "status": error.status}
    body = json.dumps(document | {"detail": error.detail}).encode("ascii")
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
