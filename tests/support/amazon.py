"""Amazon S3 in this process (moto), on a socket; and the oddities that neither it nor SeaweedFS has by itself.

moto knows Amazon's bucket APIs and verifies nothing: no signature, no checksum, no clock. Oddities come between it and
the client, each a thing that some store or account is known to do.
"""

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

HOST = "127.0.0.1"
REGION = "eu-central-1"

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


@dataclass(slots=True, kw_only=True)
class Refusal:
    """What a call is answered in place of its own answer."""

    status: str
    code: str
    message: str = "said by a test"
    times: int = 1_000_000
    """How often; then the call goes through."""


@dataclass(slots=True)
class Oddities:
    """Between client and moto. Calls have names such as `PUT ?policy`, `PUT object` or `HEAD bucket`."""

    app: App
    refused: dict[str, Refusal] = field(default_factory=dict)
    swallowed: set[str] = field(default_factory=set)
    """Calls that are answered 200 and not made."""
    deaf_to: set[str] = field(default_factory=set)
    """Request headers, as WSGI writes them, that the store does not look at;"""
    deaf_method: str | None = None
    """in requests with this method, or in all."""
    refused_headers: set[str] = field(default_factory=set)
    """Request headers with which nothing is taken."""
    breaking: str = ""
    """A part of a bucket's settings, such as `cors`: while it is set,"""
    broken: str = "PUT object"
    """this call is denied."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer, over its own."""
    calls: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """None of them any more."""
        for collected in (self.refused, self.swallowed, self.deaf_to, self.refused_headers, self.headers, self.calls):
            collected.clear()
        self.deaf_method = None
        self.breaking, self.broken = "", "PUT object"

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        call = _name(environ)
        self.calls.append(call)
        if self.breaking and call == f"PUT ?{self.breaking}":
            self.refused[self.broken] = Refusal(status="403 Forbidden", code="AccessDenied")
        elif self.breaking and call == f"DELETE ?{self.breaking}":
            self.refused.pop(self.broken, None)
        for header in self.deaf_to if self.deaf_method in {None, environ["REQUEST_METHOD"]} else ():
            environ.pop(header, None)
        if self.refused_headers & environ.keys():
            return self._answer(start, "400 Bad Request", _error(Refusal(status="", code="InvalidRequest")))
        refusal = self.refused.get(call)
        if refusal and refusal.times:
            refusal.times -= 1
            return self._answer(start, refusal.status, b"" if call.startswith("HEAD") else _error(refusal))
        if call in self.swallowed:
            return self._answer(start, "200 OK", b"")
        return self.app(environ, self._with_headers(start))

    def _answer(self, start: Start, status: str, body: bytes) -> Iterable[bytes]:
        self._with_headers(start)(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def _with_headers(self, start: Start) -> Start:
        def started(status: str, headers: list[tuple[str, str]], *more: object) -> object:
            ours = {name.lower() for name in self.headers}
            kept = [(name, value) for name, value in headers if name.lower() not in ours]
            return start(status, [*kept, *self.headers.items()], *more)

        return started


@dataclass(frozen=True, slots=True, kw_only=True)
class Amazon:
    """The running server."""

    url: str
    odd: Oddities

    def environment(self, bucket: str, **more: str) -> dict[str, str]:
        """The variables that lead to a bucket of it."""
        return {
            "S3_BUCKET": bucket,
            "S3_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "not-a-real-key-id",
            "AWS_SECRET_ACCESS_KEY": "not-a-real-secret",
            **more,
        }


class _Quiet(MotoRequestHandler):
    def log(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def amazon_running(*, tls: ssl.SSLContext | None = None) -> Iterator[Amazon]:
    """Run it until the block ends, with `tls` over HTTPS."""
    odd = Oddities(DomainDispatcherApplication(create_backend_app))
    server = make_server(HOST, 0, odd, threaded=True, request_handler=_Quiet, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, name="amazon")
    thread.start()
    try:
        yield Amazon(url=f"{'https' if tls else 'http'}://{HOST}:{server.port}", odd=odd)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _name(environ: dict[str, Any]) -> str:
    method = environ["REQUEST_METHOD"]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    for name in ("partNumber", "uploadId", "uploads", "policy", "cors", "lifecycle", "encryption", "versions"):
        if name in query:
            return f"{method} ?{name}"
    for name in ("publicAccessBlock", "ownershipControls"):
        if name in query:
            return f"{method} ?{name}"
    return f"{method} {'object' if environ['PATH_INFO'].strip('/').count('/') else 'bucket'}"


def _error(refusal: Refusal) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
    ).encode()
