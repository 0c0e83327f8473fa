"""CORS: which origins may call the API from a browser."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from recipe_api.web.problems import preflight_rejected

_ANY_SUBDOMAIN = r"[a-z0-9.-]+"
"""What `*` stands for, as in a bucket's CORS rules: one label or several."""


def origin_regex(origins: Iterable[str]) -> str | None:
    """Return a pattern for the origins that contain a wildcard, such as `https://*.example.com`; None without any.

    Starlette matches it against the whole `Origin` header. `*` alone means every origin, which Starlette handles.
    """
    patterns = [_ANY_SUBDOMAIN.join(map(re.escape, origin.split("*"))) for origin in origins if "*" in origin[1:]]
    return "|".join(patterns) or None


class Cors(CORSMiddleware):
    """Starlette's CORS middleware, with problem documents for rejected preflight requests."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                response = self.preflight_response(headers)
                if response.status_code != 200:
                    del response.headers["content-type"], response.headers["content-length"]
                    reason = bytes(response.body).decode()
                    response = preflight_rejected(scope, reason=reason, headers=dict(response.headers))
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
