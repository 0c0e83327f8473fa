"""Amazon S3 in this process (moto) on a socket, with oddities that neither moto nor SeaweedFS has.

moto implements Amazon's bucket APIs but verifies nothing: no signature, no checksum, no clock. The oddities are known
behaviour of other stores or accounts, added between moto and the client.
"""

import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.iam.access_control import IAMPolicyStatement
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.support.server_thread import serving_in_thread

HOST = "127.0.0.1"
REGION = "eu-central-1"

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


@dataclass(slots=True, kw_only=True)
class Refusal:
    """A response that replaces moto's own."""

    status: str
    code: str
    message: str = "a test rejects this"
    times: int = 1_000_000
    """How many calls get it; later ones reach moto."""


@dataclass(slots=True)
class Oddities:
    """Deviations from moto. Calls have names such as `PUT ?policy`, `PUT object` or `HEAD bucket`."""

    app: App
    refused: dict[str, Refusal] = field(default_factory=dict)
    ignored_calls: set[str] = field(default_factory=set)
    """Calls that get 200 without being executed."""
    ignored_headers: set[str] = field(default_factory=set)
    """Request headers, by their WSGI names, that the store ignores in requests with `ignoring_method`."""
    ignoring_method: str | None = None
    """The method of the requests whose `ignored_headers` are ignored; None means all methods."""
    refused_headers: set[str] = field(default_factory=set)
    """Request headers that cause a rejection."""
    breaking: str = ""
    """A part of a bucket's settings, such as `cors`. While it is set, the call `broken` is denied."""
    broken: str = "PUT object"
    """The call that is denied while `breaking` is set."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of every response, which replace moto's."""
    calls: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Remove all oddities."""
        for collected in (
            self.refused,
            self.ignored_calls,
            self.ignored_headers,
            self.refused_headers,
            self.headers,
            self.calls,
        ):
            collected.clear()
        self.ignoring_method = None
        self.breaking, self.broken = "", "PUT object"

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        call = _name(environ)
        self.calls.append(call)
        if self.breaking and call == f"PUT ?{self.breaking}":
            self.refused[self.broken] = Refusal(status="403 Forbidden", code="AccessDenied")
        elif self.breaking and call == f"DELETE ?{self.breaking}":
            self.refused.pop(self.broken, None)
        for header in self.ignored_headers if self.ignoring_method in {None, environ["REQUEST_METHOD"]} else ():
            environ.pop(header, None)
        if self.refused_headers & environ.keys():
            return self._answer(start, "400 Bad Request", _error(Refusal(status="", code="InvalidRequest")))
        refusal = self.refused.get(call)
        if refusal and refusal.times:
            refusal.times -= 1
            return self._answer(start, refusal.status, b"" if call.startswith("HEAD") else _error(refusal))
        if call in self.ignored_calls:
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
    """A running server."""

    url: str
    odd: Oddities

    def environment(self, bucket: str, **more: str) -> dict[str, str]:
        """Return the environment variables for one of its buckets."""
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
        """Log nothing."""


@contextmanager
def amazon_running(*, tls: ssl.SSLContext | None = None) -> Iterator[Amazon]:
    """Run the server until the block ends; with `tls`, over HTTPS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IAMPolicyStatement, "_match", staticmethod(_matches))
        yield from _server(tls)


def _server(tls: ssl.SSLContext | None) -> Iterator[Amazon]:
    odd = Oddities(DomainDispatcherApplication(create_backend_app))
    server = make_server(HOST, 0, odd, threaded=True, request_handler=_Quiet, ssl_context=tls)
    with server, serving_in_thread(server, name="amazon"):
        yield Amazon(url=f"{'https' if tls else 'http'}://{HOST}:{server.port}", odd=odd)


def _matches(pattern: str, value: str) -> re.Match[str] | None:
    """Match a resource or an action as Amazon does; moto supports `*` but not `?`."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value, re.DOTALL)


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
