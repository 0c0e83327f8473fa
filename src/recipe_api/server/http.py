"""uvicorn's HTTP/1.1, with bounds, with bodies that go their own way (`inflow`), and answers in one piece (`joining`).

uvicorn bounds neither the size of a request's head nor the time it may take. A dyno's router bounds both, but the
service is to stand without one. What is no HTTP is told by a problem document, as all else that is refused. A client
that ends its sending after a whole request is answered; of a connection that is lost, however it was, nothing stays.
"""

import asyncio
import json
from http import HTTPStatus
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from recipe_api.asgi import content_length
from recipe_api.errors import HeadersTooLarge, RequestRefused
from recipe_api.server.inflow import Inflow
from recipe_api.server.joining import JoiningTransport
from recipe_api.settings import KIB

KEEP_ALIVE_SECONDS = 95
"""Above the 90 s for which Heroku's router keeps an idle connection: else it may pick one that is just closing."""

MAX_HEAD_BYTES = 64 * KIB
"""Of a request's line and headers. What one read of the socket brings is taken as it is."""
HEAD_SECONDS = 20
"""From a head's first byte to its last."""
LINGER_SECONDS = 2
"""How long a client that was refused may go on sending, so that it sees the answer and no reset (RFC 9112 §9.6)."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds on the heads of requests."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        super().connection_made(cast("asyncio.Transport", JoiningTransport(transport, self.loop)))
        self._head_bytes = 0
        self._in_head = False
        self._refused = False
        self._progressed = False
        self._inflows: list[Inflow] = []  # of the requests that are not all answered
        self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)  # until a first request begins

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # which uvicorn leaves running where the client has reset the connection
        self._close_inflows()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's keeps no connection open
        """A client that has sent all it will may still wait for its answer (RFC 9112 §9.6); over TLS it cannot."""
        cast("JoiningTransport", self.transport).flush()  # else what closes beneath it would cut the answer off
        if self.scheme == "https" or self._refused or not self._answering() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False  # the last one, where several wait
        return True

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
            self._refuse(HeadersTooLarge(f"The request's line and headers may have at most {MAX_HEAD_BYTES} bytes."))
        elif self.timeout_keep_alive_task is None and not self._in_head and not self._answering():
            # Something came that begins no request, and uvicorn has ended its own watch.
            self._timer.cancel()
            self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        if not self._refused and self._inflows:
            self._inflows[-1].take(body)

    def on_message_complete(self) -> None:
        self._progressed = True
        if not self._refused:
            super().on_message_complete()

    def _body_passed_by(self) -> None:
        """The rest of a body has come, and the parser, which still waits for it, has seen nothing of it."""
        self.on_message_complete()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's is

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
        length = content_length(self.headers)
        coded = length is None and any(name == b"transfer-encoding" for name, _ in self.headers)
        if self.parser.should_upgrade() and (coded or length is not None):
            # The parser would take the body for a next request.
            self._refuse(RequestRefused("A request with a body cannot ask for another protocol; leave Upgrade out."))
            return
        if not self._answering():
            self._close_inflows()
        super().on_headers_complete()
        if coded or length:
            self._inflows.append(Inflow(self, length=length or 0, at_end=self._body_passed_by))

    def _close_inflows(self) -> None:
        while self._inflows:
            self._inflows.pop().close()

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
            if self.transport.can_write_eof():  # TLS cannot
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
