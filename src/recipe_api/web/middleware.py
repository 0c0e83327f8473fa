"""What every request passes on its way in and every answer on its way out, outermost first.

`RequestLog` gives the request its id and writes its line. `Linger` lets a client see an answer that came before its
body was read. `SecurityHeaders` says what a browser may do with an answer. CORS comes from Starlette. `HeadAsGet`
answers HEAD. `Faults`, the innermost, turns what nobody expected into a problem document, so that it too carries all of
the above.

All are plain ASGI: nothing stands between the socket and the reader of a body but a function call.
"""

import asyncio
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recipe_api.observability import begin_request
from recipe_api.web.problems import fault, stopping

LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 10

_log = structlog.get_logger("recipe_api.request")


def _header(scope: Scope, name: bytes) -> str | None:
    """A header of a request; the first one where there are several. ASGI has their names in lower case."""
    return next((value.decode("latin-1") for found, value in scope["headers"] if found == name), None)


class RequestLog:
    """One line a request, with `X-Request-ID`, and the id on the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["log"] = {}
        request_id = begin_request(_header(scope, b"x-request-id"))
        started = time.perf_counter()
        received = sent = 0
        status = 499  # nginx's number for a client that went away before it was answered

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
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                bytes_in=received,
                bytes_out=sent,
                duration_ms=round((time.perf_counter() - started) * 1000, 1),
                **scope.get("log", {}),
            )


class Linger:
    """Answers before the body has been read, then reads on for a while, so that the client sees an answer, no reset.

    Closing a socket with unread bytes resets it, and the reset can overtake the answer (RFC 9112 §9.6; H18 on Heroku).
    The answer is sent at once and its end held back, while at most `LINGER_BYTES` are read for at most
    `LINGER_SECONDS`; then the connection closes. A client that waits for `100 Continue` has sent nothing to read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        unread, asked = False, True
        for name, value in scope["headers"]:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                unread = True
            elif name == b"expect" and value.lower() == b"100-continue":
                asked = False

        async def noted_receive() -> Message:
            nonlocal unread, asked
            asked = True
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def lingering_send(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            if not (unread and asked) or message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            await _drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, noted_receive, lingering_send)


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
    except asyncio.CancelledError:  # the process stops; the answer has been sent
        return


class SecurityHeaders:
    """Keeps browsers from guessing types, framing pages and telling other hosts where a visitor came from."""

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message.get("headers", ())}
                ours = (header for header in self.HEADERS if header[0] not in there)  # a page brings its own policy
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        await self._app(scope, receive, headed_send)


class HeadAsGet:
    """Answers HEAD with the status and the headers of GET (RFC 9110 §9.3.2); FastAPI's routes know GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless_send(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, bodiless_send)


class Faults:
    """Logs what nobody expected, with its traceback, and answers with the request's id; answers what is cancelled."""

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
        except asyncio.CancelledError:  # the grace after SIGTERM has passed; what was begun is undone
            if scope["type"] != "http" or started:
                raise
            await stopping()(scope, receive, send)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            _log.exception("unexpected fault", method=scope["method"], path=scope["path"])
            await fault()(scope, receive, send)
