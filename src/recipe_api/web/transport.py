"""HTTPS: rejects tokens without it, and redirects browsers to it.

The service itself speaks plain HTTP and has a proxy in front of it for TLS, which reports the client's scheme in
`X-Forwarded-Proto`. The server trusts that header from proxies in `FORWARDED_ALLOW_IPS` only.
"""

import re
from collections.abc import Awaitable

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from recipe_api.errors import HttpsRequired
from recipe_api.web.peers import is_on_this_machine
from recipe_api.web.root_path import route_path

HSTS = (b"strict-transport-security", b"max-age=31536000")
"""A year, for this host alone (RFC 6797): subdomains may belong to others."""

_PAGES = frozenset({"/", "/docs"})
_PORT = re.compile(r":\d*$")


def is_encrypted(scope: Scope) -> bool:
    """Return whether the client uses HTTPS."""
    return bool(scope["scheme"] == "https")


def check_token_transport(scope: Scope, *, allow_insecure: bool) -> None:
    """Reject a token that others could have read on the network.

    Raises:
        HttpsRequired: It came over plain HTTP from another machine.
    """
    if not (allow_insecure or is_encrypted(scope) or is_on_this_machine(scope)):
        raise HttpsRequired("This token was sent over plain HTTP, where others can read it. Send it over HTTPS.")


class HttpsPages:
    """Redirects pages to HTTPS if a proxy reports plain HTTP, except for clients on this machine.

    Without a proxy that reports the scheme, HTTPS may not exist. The API is not redirected: a client would send its
    body and token in clear text first, each time, and it would go unnoticed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and (location := _https_location(scope)):
            return RedirectResponse(location, 307, {"cache-control": "no-store"})(scope, receive, send)
        return self._app(scope, receive, send)


def _https_location(scope: Scope) -> str | None:
    if scope["method"] not in {"GET", "HEAD"} or route_path(scope) not in _PAGES:
        return None
    if is_encrypted(scope) or is_on_this_machine(scope):
        return None
    headers = Headers(scope=scope)
    host = headers.get("host")
    if headers.get("x-forwarded-proto", "").strip().lower() != "http" or not host:
        return None
    query = scope["query_string"].decode("ascii", "replace")
    return f"https://{_PORT.sub('', host)}{scope['path']}{'?' if query else ''}{query}"
