"""Recognizes tus requests, and adds the header that the protocol requires to their responses.

tus shares its paths with the JSON API of staged uploads; the header `Tus-Resumable` distinguishes them.
"""

from collections.abc import Awaitable, MutableMapping
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recipe_api.asgi import headers_of
from recipe_api.web.root_path import route_path
from recipe_api.web.tus_headers import VERSION, is_tus

_OVERRIDABLE = frozenset({"HEAD", "PATCH", "DELETE"})
_VERSION_HEADER = (b"tus-resumable", VERSION.encode("ascii"))


class TusRequests:
    """Applies `X-HTTP-Method-Override` to tus requests, and adds `Tus-Resumable` to their responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or not is_tus_request(scope):
            return self._app(scope, receive, send)

        override = (headers_of(scope).value(b"x-http-method-override") or b"").decode("latin-1").upper()
        method = override if scope["method"] == "POST" and override in _OVERRIDABLE else scope["method"]
        overridden = {**scope, "method": method}

        async def versioned_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["route"] = overridden.get("route")  # for telemetry, which sees this scope
                message["headers"] = [*message.get("headers", ()), _VERSION_HEADER]
            await send(message)

        return self._app(overridden, receive, versioned_send)


def is_tus_request(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request uses tus on a staged upload."""
    return is_tus(scope) and route_path(dict(scope)).startswith("/uploads")


class TusRoute(APIRoute):
    """A route for tus requests only. Other requests with its path and method are left to the routes after it.

    `PATCH` exists only in tus, so a `PATCH` without `Tus-Resumable` gets 412.
    """

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, Scope]:
        """Match a tus request by its path and method; match no other request."""
        if scope["type"] == "http" and scope["method"] not in {"PATCH", "OPTIONS"} and not is_tus(scope):
            return Match.NONE, {}
        return super().matches(scope)
