"""uvicorn's HTTP/1.1 protocol, with bounds, stricter checks and a faster way through for bodies and responses.

uvicorn limits neither the size of a request's head nor the time it may take. Heroku's router limits both, but the
service must be safe without a router in front of it. What else differs from uvicorn:

- Heads are validated as RFC 9110 and RFC 9112 demand (`head`), and malformed HTTP gets a problem document (`refusals`).
  It comes after the responses to the requests before it, and ends the connection.
- `Upgrade` is ignored: the request is served as HTTP/1.1, whatever protocol it offers (RFC 9110 §7.8).
- A client that half-closes the connection after a whole request still gets its response.
- Nothing of a lost connection stays in memory. Connections, unfinished heads, unread responses and the requests that a
  connection sends ahead are bounded (`connections`).
- Bodies bypass the parser where they can (`inflow`), and a response goes out in one piece (`joining`).
"""

import asyncio
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from recipe_api.errors import RecipeApiError, ServiceFull, TooManyRequests
from recipe_api.server.connections import connections_of
from recipe_api.server.head import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    Head,
    check_request_line,
    head_too_large,
    read_head,
    too_many_headers,
)
from recipe_api.server.inflow import Inflow
from recipe_api.server.joining import JoiningTransport
from recipe_api.server.refusals import error_of, rendered

KEEP_ALIVE_SECONDS = 95
"""Above the 90 s for which Heroku's router keeps an idle connection, or it may pick one that is just closing."""

HEAD_SECONDS = 20
"""From a head's first byte to its last."""
MAX_PIPELINED = 32
"""Requests that wait on one connection for the response before theirs; one read may bring thousands."""
LINGER_SECONDS = 2
"""How long a rejected client may go on sending, so that it sees the response and no reset (RFC 9112 §9.6)."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, extended as the module says."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        self._joining = JoiningTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._joining))
        self._connections = connections_of(self.server_state)
        self.parser.set_dangerous_leniencies(lenient_version=True)
        self._head_bytes = 0
        self._in_head = False
        self._in_body = False
        self._progressed = False
        self._framing: bytes | None = None  # of a body that the parser has not been given because of `Upgrade`
        self._reframing = False
        self._refusal: RecipeApiError | None = None
        self._inflows: list[Inflow] = []  # of requests without a complete response
        seconds = self._connections.closing_after  # None unless the server stops, and accepts what has waited
        seconds = KEEP_ALIVE_SECONDS if seconds is None else seconds
        self._timer = self.loop.call_later(seconds, self.transport.close)  # until a first request begins
        opened = transport.get_extra_info("socket")
        if not self._connections.admit(self, file=-1 if opened is None else opened.fileno()):
            self._refusal = ServiceFull("This process serves as many connections as it can; try again in a moment.")
            self._write_refusal(self._refusal)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.lost(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it running when the client resets the connection
        self._close_inflows()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's always closes the connection
        """Keep the connection open for outstanding responses (RFC 9112 §9.6); with TLS that is impossible."""
        cast("JoiningTransport", self.transport).flush()  # or closing beneath it would cut the response off
        if self.scheme == "https" or not self._answering() or self._in_body:
            return False
        if self._refusal is None:
            self.cycle.keep_alive = False  # the last one, where several wait
        return True

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._progressed = False
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while rest:
                rest = self._parse(rest)
        except httptools.HttpParserError as failure:
            begun = b"" if self._progressed else bytes(rest)  # of a read that begins elsewhere, nobody knows where
            self._refuse(error_of(failure, method=self.parser.get_method(), begun=begun))
        else:
            self._watch(len(data))

    def _parse(self, data: memoryview) -> memoryview:
        """Feed the parser, and return what it leaves because of an `Upgrade`."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if self._framing is not None:
                self._reframe(self._framing)
            return data[stopped.args[0] :]
        return data[:0]

    def _reframe(self, framing: bytes) -> None:
        """Have a new parser read on with the body: the old one takes what follows `Upgrade` for another protocol."""
        self._framing = None
        self._replace_parser()
        self._reframing = True
        self.parser.feed_data(framing)
        self._reframing = False

    def _replace_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)

    def _watch(self, received: int) -> None:
        # Counts heads, and what comes after a body's last chunk: trailers, which nobody reads.
        self._head_bytes = 0 if self._progressed else self._head_bytes + received
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(head_too_large())
        elif self._in_head:
            self._connections.head_grew(self, received=self._head_bytes, headers=len(self.headers))
        elif self.timeout_keep_alive_task is None and not self._answering():
            # What came begins no request, and uvicorn has ended its own timer.
            self._timer.cancel()
            self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        if self._reframing:
            return
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._timer.cancel()
        self._timer = self.loop.call_later(self._connections.closing_after or HEAD_SECONDS, self._head_is_late)

    def on_url(self, url: bytes) -> None:
        if self._reframing:
            return
        super().on_url(url)
        check_request_line(method=self.parser.get_method(), target=self.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # not a trailer
            if len(self.headers) == MAX_HEADERS:
                raise too_many_headers()
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._reframing:
            return
        self._timer.cancel()
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        head = read_head(method=method, target=self.url, version=version, headers=self.headers)
        if len(self.pipeline) == MAX_PIPELINED:
            raise TooManyRequests(f"Up to {MAX_PIPELINED} requests may wait on a connection; read the responses first.")
        self._in_head, self._in_body = False, True
        self._connections.head_ended(self)
        self._connections.busy(self)
        self._framing = head.framing if head.has_body and self.parser.should_upgrade() else None
        if not self._answering():
            self._close_inflows()
        self._begin_request(head)
        if version != "1.0":
            self.scope["http_version"] = "1.1"

    def _begin_request(self, head: Head) -> None:
        self.url = head.target
        self.expect_100_continue = head.expects_continue
        if head.authority is not None:
            hosts = [header for header in self.headers if header[0] != b"host"]
            self.headers[:] = [(b"host", head.authority), *hosts]
        super().on_headers_complete()
        if self._connections.closing_after is not None:
            self.cycle.keep_alive = False
        if head.has_body:
            self._inflows.append(Inflow(self, length=head.length, at_end=self._body_passed_by))

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        if self._inflows:
            self._inflows[-1].take(body)

    def on_message_complete(self) -> None:
        if self._framing is None:  # or its body is still to come
            self._progressed = True
            self._in_body = False
            super().on_message_complete()

    def _body_passed_by(self) -> None:
        """The rest of a body has arrived without the parser, which still waits for it."""
        self.on_message_complete()
        self._replace_parser()

    def on_response_complete(self) -> None:
        was_last = not self.pipeline
        super().on_response_complete()
        if not was_last or self.transport.is_closing():
            return
        if self._refusal is None:
            self._connections.idle(self)
            if self._connections.closing_after is not None:
                self.shutdown()
        else:
            self._send_refusal(self._refusal)

    def shutdown(self) -> None:
        """Close the connection soon: after the response that is under way, or when it has been idle for a while.

        A client that is about to send a request does not expect the end of an idle connection. So it stays open for a
        moment, unless uvicorn has been told to stop without a signal. Where the head of a response has been sent
        without `Connection: close`, the connection counts as idle after it.
        """
        if not self._answering():
            self._timer.cancel()
            self._timer = self.loop.call_later(self._connections.closing_after or 0, self.transport.close)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    @property
    def unsent(self) -> int:
        """Bytes of responses that the client has not read, nor the system taken."""
        return self._joining.get_write_buffer_size()

    @property
    def written(self) -> int:
        """Bytes of all responses so far."""
        return self._joining.written

    @property
    def is_responding(self) -> bool:
        """Whether a response has begun and has not ended."""
        return self._answering() and self.cycle.response_started

    def abandon(self) -> None:
        """Close the connection now, with what the client has not read."""
        if self.unsent:
            self._joining.abort()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.stuck(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connections.unstuck(self)

    def _close_inflows(self) -> None:
        while self._inflows:
            self._inflows.pop().close()

    def _head_is_late(self) -> None:
        if self._answering():  # the request before, and reading is paused meanwhile
            self._timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        else:
            self.transport.close()

    def _refuse(self, error: RecipeApiError) -> None:
        """Reject what cannot be parsed, once all requests before it have their responses; read no further."""
        self.logger.info("Rejected a request: %s", error.detail)
        self._refusal = error
        self._timer.cancel()
        self._connections.head_ended(self)
        if not self._in_body:
            if not self._answering():
                self._send_refusal(error)
        elif self.pipeline:
            self.pipeline.popleft()  # the request with this body, which the app has not seen yet
            self._in_body = False
        else:
            self.cycle.disconnected = True  # for the app, the client has gone
            self.cycle.message_event.set()
            self._send_refusal(error)

    def _send_refusal(self, error: RecipeApiError) -> None:
        self._unset_keepalive_if_required()
        if not (self._in_body and self.cycle.response_started):
            self._write_refusal(error)
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # TLS cannot
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _write_refusal(self, error: RecipeApiError) -> None:
        has_content = self.parser.get_method() != b"HEAD"
        headers = self.server_state.default_headers
        self.transport.write(rendered(error, root_path=self.root_path, headers=headers, has_content=has_content))

    def _should_upgrade(self) -> bool:
        return False

    def _answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete
