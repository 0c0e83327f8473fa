"""A route that FastAPI describes, matches and otherwise stays out of."""

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Its endpoint takes the request as it came, and answers with a response.

    FastAPI would solve the endpoint's dependencies by name for every request, inside two exit stacks and a watch for
    errors of its own: a fifth of the CPU of a small upload (docs/benchmarks.md). So what the endpoint takes from the
    request it takes itself, and says so to OpenAPI by `openapi_extra`.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # which says 405
            return
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
