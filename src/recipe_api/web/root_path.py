"""Serving below a path such as `/api`, behind a reverse proxy that forwards only part of a site.

Some proxies remove that path before they forward a request, others leave it in place. `RootPath` accepts both and turns
them into the one form that ASGI defines: `path` includes `root_path`. Everything behind it reads only that form, as
Starlette's routing does. Links are built from `root_path`, never from the `Host` header or from a header of the proxy.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Prepends `root_path` to each request's path, unless the proxy has left it there."""

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # A server with its own root path, such as uvicorn, prepends it to every path, whether stripped or not.
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path == self._root_path:
                path += "/"  # the page, whose links do not depend on the slash
            if not path.startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope["root_path"], scope["path"] = self._root_path, path
        await self._app(scope, receive, send)


def root_path(scope: Scope) -> str:
    """Return the path below which the service is published, which is usually empty."""
    found: str = scope.get("root_path", "")
    return found


def address(scope: Scope, path: str) -> str:
    """Return the address of one of our own paths, as clients of this request reach it."""
    return root_path(scope) + path


def route_path(scope: Scope) -> str:
    """Return the path that routes are matched against: the request's, without the root path."""
    path: str = scope["path"]
    return path.removeprefix(root_path(scope))
