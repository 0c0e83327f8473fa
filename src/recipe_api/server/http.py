"""uvicorn's HTTP/1.1 protocol, with bounds, stricter checks and a faster way through for bodies and responses.

uvicorn limits neither the size of a request's head nor the time it may take. Heroku's router limits both, but the
service must be safe without a router in front of it. What else differs from uvicorn:

- Heads are validated as RFC 9110 and RFC 9112 demand (`head`), and malformed HTTP gets a problem document (`refusals`).
  It comes after the responses to the requests before it, and ends the connection.
- `Upgrade` is ignored: the request is served as HTTP/1.1, whatever protocol it offers (RFC 9110 §7.8).
- A client that half-closes the connection after a whole request still gets its response.
- Nothing of a lost connection stays in memory. Connections, unfinished heads, unread responses and the requests that a
  connection sends ahead are bounded (`connections`).
- Bodies bypass the parser where they can (`request_body`), and a response is sent in one piece (`coalescing`).
"""

import asyncio
from contextvars import copy_context
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from recipe_api.asgi import RequestHeaders
from recipe_api.errors import RecipeApiError, ServiceFull, TooManyRequests
from recipe_api.observability import begin_request
from recipe_api.server.coalescing import CoalescingTransport
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
from recipe_api.server.refusals import parser_error, problem_response
from recipe_api.server.request_body import RequestBody

KEEP_ALIVE_SECONDS = 95
"""Longer than the 90 s for which Heroku's router keeps an idle connection, which might otherwise close when used."""

HEAD_SECONDS = 20
"""The time limit from a head's first byte to its last."""
MAX_PIPELINED = 32
"""How many requests may wait on one connection for the previous response. A single read may contain thousands."""
LINGER_SECONDS = 2
"""How long a rejected client may continue to send, so that it sees the response instead of a reset (RFC 9112 §9.6)."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with the additions that the module lists."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        self._coalescing = CoalescingTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._coalescing))
        self._connections = connections_of(self.server_state)
        self.parser.set_dangerous_leniencies(lenient_version=True)
        self._head_bytes = 0
        self._in_head = False
        self._in_body = False
        self._progressed = False
        self._framing: bytes | None = None  # of a body that the parser has yet to read after an `Upgrade`
        self._reframing = False
        self._refusal: RecipeApiError | None = None
        self._refusal_id: str | None = None
        self._bodies: list[RequestBody] = []  # of requests without a complete response
        seconds = self._connections.closing_after  # None unless the server is stopping
        seconds = KEEP_ALIVE_SECONDS if seconds is None else seconds
        self._timer = self.loop.call_later(seconds, self.transport.close)  # until a first request begins
        opened = transport.get_extra_info("socket")
        if not self._connections.admit(self, file=-1 if opened is None else opened.fileno()):
            self._refusal = ServiceFull("This process serves as many connections as it can; try again in a moment.")
            self._write_refusal(self._refusal)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.remove(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it running when the client resets the connection
        while self._bodies:
            self._bodies.pop().detach()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's always closes the connection
        """Keep the connection open for outstanding responses (RFC 9112 §9.6); with TLS that is impossible."""
        cast(
            "CoalescingTransport", self.transport
        ).flush()  # or closing the transport below would truncate the response
        if self.scheme == "https" or not self._is_serving() or self._in_body:
            return False
        if self._refusal is None:
            self.cycle.keep_alive = False  # of the last request, if several wait
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
            begun = b"" if self._progressed else bytes(rest)  # unknown if the read began elsewhere
            self._refuse(parser_error(failure, method=self.parser.get_method(), begun=begun))
        else:
            self._watch(len(data))

    def _parse(self, data: memoryview) -> memoryview:
        """Feed the parser, and return the rest that it left because of an `Upgrade`."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if self._framing is not None:
                self._reframe(self._framing)
            return data[stopped.args[0] :]
        return data[:0]

    def _reframe(self, framing: bytes) -> None:
        """Read the body with a new parser: the old one expects another protocol after an `Upgrade`."""
        self._framing = None
        self._replace_parser()
        self._reframing = True
        self.parser.feed_data(framing)
        self._reframing = False

    def _replace_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)

    def _watch(self, received: int) -> None:
        # Counts heads, and the ignored trailers after a body's last chunk.
        self._head_bytes = 0 if self._progressed else self._head_bytes + received
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(head_too_large())
        elif self._in_head:
            self._connections.update_head(self, received=self._head_bytes, headers=len(self.headers))
            if self._timer.cancelled():
                seconds = self._connections.closing_after or HEAD_SECONDS
                self._timer = self.loop.call_later(seconds, self._head_timed_out)
        elif self.timeout_keep_alive_task is None and not self._is_serving():
            # These bytes begin no request, and uvicorn has cancelled its own timer.
            self._timer.cancel()
            self._timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        if self._reframing:
            return
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._timer.cancel()  # a head that is incomplete after this read gets its own

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
        head = read_head(method=method, target=self.url, version=version, headers=RequestHeaders(self.headers))
        if len(self.pipeline) == MAX_PIPELINED:
            raise TooManyRequests(f"Up to {MAX_PIPELINED} requests may wait on a connection; read the responses first.")
        self._in_head, self._in_body = False, True
        self._connections.end_head(self)
        self._connections.mark_busy(self)
        self._framing = head.framing if head.has_body and self.parser.should_upgrade() else None
        if not self._is_serving():
            self._close_bodies()
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
            self._bodies.append(RequestBody(self, length=head.length, at_end=self._body_bypassed_parser))

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        if self._bodies:
            self._bodies[-1].feed(body)

    def on_message_complete(self) -> None:
        if self._framing is None:  # else its body is still to come
            self._progressed = True
            self._in_body = False
            super().on_message_complete()

    def _body_bypassed_parser(self) -> None:
        """The rest of a body has arrived without the parser, which still waits for it."""
        self.on_message_complete()
        self._replace_parser()

    def on_response_complete(self) -> None:
        was_last = not self.pipeline
        super().on_response_complete()
        if not was_last or self.transport.is_closing():
            return
        if self._refusal is None:
            self._connections.mark_idle(self)
            if self._connections.closing_after is not None:
                self.shutdown()
        else:
            self._send_refusal(self._refusal)

    def shutdown(self) -> None:
        """Close the connection soon: after the response that is under way, or when it has been idle for a while.

        A client that is about to send a request does not expect an idle connection to close. So it stays open for a
        moment, unless uvicorn is stopping without a signal. If the head of a response has been sent
        without `Connection: close`, the connection counts as idle after it.
        """
        if not self._is_serving():
            self._timer.cancel()
            self._timer = self.loop.call_later(self._connections.closing_after or 0, self.transport.close)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    @property
    def unsent(self) -> int:
        """The number of response bytes that the socket has not accepted, because the client does not read them."""
        return self._coalescing.get_write_buffer_size()

    @property
    def written(self) -> int:
        """The number of bytes of all responses so far."""
        return self._coalescing.written

    @property
    def is_responding(self) -> bool:
        """Whether a response has begun and has not ended."""
        return self._is_serving() and self.cycle.response_started

    def abandon(self) -> None:
        """Close the connection now, and discard what the client has not read."""
        if self.unsent:
            self._coalescing.abort()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.mark_blocked(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connections.mark_unblocked(self)

    def _close_bodies(self) -> None:
        while self._bodies:
            self._bodies.pop().close()

    def _head_timed_out(self) -> None:
        if self._is_serving():  # the previous request; reading is paused meanwhile
            self._timer = self.loop.call_later(HEAD_SECONDS, self._head_timed_out)
        else:
            self.transport.close()

    def _refuse(self, error: RecipeApiError) -> None:
        """Reject what cannot be parsed, after the responses to all previous requests, and read no further."""
        presented = RequestHeaders(self.headers).value(b"x-request-id") if self._in_head else None
        context = copy_context()  # the callbacks of a connection share one context, which must not keep the id
        self._refusal_id = context.run(begin_request, presented.decode("latin-1") if presented else None)
        context.run(self.logger.info, "Rejected a request: %s", error.detail)
        self._refusal = error
        self._timer.cancel()
        self._connections.end_head(self)
        if not self._in_body:
            if not self._is_serving():
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
        self.transport.write(
            problem_response(
                error,
                request_id=self._refusal_id,
                root_path=self.root_path,
                headers=self.server_state.default_headers,
                has_content=has_content,
            )
        )

    def _should_upgrade(self) -> bool:
        return False

    def _is_serving(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete
