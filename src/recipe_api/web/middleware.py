"""ASGI middleware that every request passes through, from the outermost to the innermost.

`RequestLog` assigns the request id and writes a log line. `LingeringClose` delivers a response that is sent before the
body has been read. `SecurityHeaders` adds headers that restrict browsers. `Cors` is in `cors.py`. `HttpsPages`, in
`transport.py`, redirects pages to HTTPS. `TusRequests` is in `tus_requests.py`. `HeadAsGet` handles HEAD.
`InternalErrors` is the innermost, so that its problem documents pass through all the others.

All of them are plain ASGI, which adds only function calls between the socket and the reader of a body. Where nothing
follows the app behind it, a middleware returns that app's coroutine instead of awaiting it in another one.
"""

import asyncio
import time
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recipe_api.asgi import headers_of, read_ahead_of
from recipe_api.observability import begin_request, bound_logger, without_secret
from recipe_api.units import MIB
from recipe_api.web.peers import client_address
from recipe_api.web.problems import internal_error, stopping
from recipe_api.web.transport import HSTS, is_encrypted
from recipe_api.web.tus_requests import is_tus_request

LINGER_BYTES = 64 * MIB
LINGER_SECONDS = 10

_LOGGER = "recipe_api.request"


class RequestLog:
    """Logs one line per request, and adds `X-Request-ID` to the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["log"] = {}
        presented = headers_of(scope).value(b"x-request-id")
        request_id = begin_request(presented.decode("latin-1") if presented else None)
        started = time.perf_counter()
        received = sent = 0
        status: int | None = None

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal sent, status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode("ascii"))]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            seconds = time.perf_counter() - started
            self.request_ended(scope, status, seconds)
            bound_logger(_LOGGER).info(
                "request",
                method=scope["method"],
                path=without_secret(scope["path"]),
                status=status or 499,  # as in nginx: the client disconnected before the response
                bytes_in=received,
                bytes_out=sent,
                client_address=client_address(scope),
                duration_ms=round(seconds * 1000, 1),
                **scope.get("log", {}),
            )

    def request_ended(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Hook for subclasses. `status` is None if the client disconnected before the response."""


class LingeringClose:
    """Reads on for a while after an early response, so that the client sees the response instead of a connection reset.

    Closing a socket with unread bytes resets the connection, and the reset can overtake the response (RFC 9112 §9.6;
    H18 on Heroku). So the response is sent at once, except for its end, and at most `LINGER_BYTES` of the body are read
    for at most `LINGER_SECONDS`; then the connection closes. A client that waits for `100 Continue` has sent nothing to
    read.

    After a request with a body and `Upgrade`, the connection closes as well, unless our own protocol serves it: stock
    uvicorn stops parsing after that head and parses the body as another request, which would permit request smuggling.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        headers = headers_of(scope)
        unread = b"transfer-encoding" in headers or headers.value(b"content-length") not in {None, b"0"}
        asked = (headers.value(b"expect") or b"").lower() != b"100-continue"
        loses_body = b"upgrade" in headers and unread and read_ahead_of(scope) is None

        async def noted_receive() -> Message:
            nonlocal unread, asked
            asked = True
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def lingering_send(message: Message) -> None:
            if (unread or loses_body) and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            if not (unread and asked) or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            await _drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        return self._app(scope, noted_receive, lingering_send)


async def _drain(receive: Receive) -> None:
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return
    except asyncio.CancelledError:  # the process is stopping, and the response has been sent
        return


class SecurityHeaders:
    """Adds headers that stop browsers from guessing types, framing or embedding pages, and sending referrers elsewhere.

    Over HTTPS, it adds `Strict-Transport-Security` as well. Scripts and style sheets, of which a page loads many, do
    not get the headers of documents: the policies of the page apply to them anyway.
    """

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),  # does not affect scripts that use CORS
    )
    HTTPS_HEADERS = (*HEADERS, HSTS)
    DOCUMENT_HEADERS = (
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    )
    PAGE_HEADERS = (*DOCUMENT_HEADERS, (b"cross-origin-opener-policy", b"same-origin"))
    NAMES = frozenset(name for name, _ in (*HTTPS_HEADERS, *PAGE_HEADERS))

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        headers = self.HTTPS_HEADERS if is_encrypted(scope) else self.HEADERS

        async def headed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = dict(message.get("headers", ()))
                added = (*headers, *self._added_to(found.get(b"content-type", b"")))
                if not self.NAMES.isdisjoint(found):  # a page has its own policy
                    added = tuple(header for header in added if header[0] not in found)
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        return self._app(scope, receive, headed_send)

    def _added_to(self, media_type: bytes) -> tuple[tuple[bytes, bytes], ...]:
        if media_type.startswith((b"text/javascript", b"text/css")):
            return ()
        return self.PAGE_HEADERS if media_type.startswith(b"text/html") else self.DOCUMENT_HEADERS


class HeadAsGet:
    """Handles HEAD as GET without the body (RFC 9110 §9.3.2), because FastAPI's GET routes do not accept HEAD.

    tus defines HEAD itself, so its requests pass unchanged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["method"] != "HEAD" or is_tus_request(scope):
            return self._app(scope, receive, send)

        get = {**scope, "method": "GET"}

        async def bodiless_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["route"] = get.get("route")  # for telemetry, which sees this scope
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        return self._app(get, receive, bodiless_send)


class InternalErrors:
    """Log an unexpected exception with its traceback and respond with 500; respond to a cancelled request with 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        except asyncio.CancelledError:  # the time for shutdown is over, and the upload has been undone
            if scope["type"] != "http" or started:
                raise
            await stopping(scope)(scope, receive, send)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            bound_logger(_LOGGER).exception(
                "unexpected error", method=scope["method"], path=without_secret(scope["path"])
            )
            await internal_error(scope)(scope, receive, send)
