"""A route whose endpoint receives the request itself, without FastAPI's search for parameters."""

from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Calls its endpoint with the request alone, as Starlette does, unless dependencies must be resolved first.

    FastAPI's own handler costs up to a tenth of the CPU time of a small upload, even for an endpoint without
    dependencies, and a fifth of that of reading a recipe. What the endpoint reads from the request is described to
    OpenAPI by `openapi_extra`.

    Dependencies of the app and of routers apply as to any route: with them, or if the route is included from a router,
    FastAPI's handler is used.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(*args, **kwargs)
        if not self.dependencies:
            self.app = self._respond  # an included route gets another app, with the added dependencies

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
