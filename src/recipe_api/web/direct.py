"""A route whose endpoint receives the request itself, without FastAPI's search for parameters."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class DirectRoute(APIRoute):
    """Calls its endpoint with the request alone, as Starlette does, unless dependencies must be resolved first.

    FastAPI's own handler costs up to a tenth of the CPU time of a small upload, even for an endpoint without
    dependencies. What the endpoint reads from the request is described to OpenAPI by `openapi_extra`.

    Dependencies of the app and of routers apply as to any route: with them, FastAPI's handler is used.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint, or FastAPI's handler if the route has dependencies or was included from a router."""
        handler = super().get_route_handler()
        # FastAPI calls this once in the constructor, before it sets `app`, and again wherever the route's router is
        # included. Only its own handler has the dependencies that an include adds.
        was_included = hasattr(self, "app")
        return handler if self.dependencies or was_included else self.endpoint
