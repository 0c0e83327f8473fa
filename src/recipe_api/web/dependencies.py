"""Dependencies of the routes: the services, and the token checks. None of them reads the body."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from recipe_api.asgi import headers_of
from recipe_api.resources import Resources
from recipe_api.uploads.appending import Appending
from recipe_api.uploads.renditions import Renditions
from recipe_api.uploads.service import Uploads
from recipe_api.uploads.staged import Staging
from recipe_api.uploads.staged_parts import StagedParts
from recipe_api.web.body import BodyTimeouts
from recipe_api.web.cross_site import CrossSiteForms
from recipe_api.web.readiness import Readiness
from recipe_api.web.tokens import Caller, Tokens
from recipe_api.web.transport import check_token_transport

BEARER = HTTPBearer(auto_error=False, description="An API token, or the manage_token of one recipe.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The objects that the routes use."""

    resources: Resources
    uploads: Uploads
    renditions: Renditions
    staging: Staging
    appending: Appending
    staged_parts: StagedParts
    tokens: Tokens
    allow_insecure_tokens: bool
    cross_site_forms: CrossSiteForms
    body_timeouts: BodyTimeouts
    readiness: Readiness


def services_of(request: Request) -> Services:
    """Return the services of the app that handles this request."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)  # async because FastAPI runs plain functions in a thread


AppServices = Annotated[Services, Depends(_services)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


async def api_token(request: Request, bearer: Bearer) -> Caller:
    """Return who may upload and list: the holder of an API token, or anyone if the service has none."""
    caller = services_of(request).tokens.authorize_api(_bearer_token(request, bearer))
    _name_in_log(request, caller.name)
    return caller


async def authorized(request: Request) -> Caller:
    """Return what `api_token` returns, for routes without dependency injection."""
    return await api_token(request, await BEARER(request) if b"authorization" in headers_of(request.scope) else None)


async def manage_token(request: Request, recipe_id: UUID, bearer: Bearer) -> None:
    """Check that the client may rename and delete this recipe."""
    tokens = services_of(request).tokens
    _name_in_log(request, tokens.authorize_manage(_bearer_token(request, bearer), recipe_id))


def _bearer_token(request: Request, bearer: HTTPAuthorizationCredentials | None) -> str | None:
    """Return the bearer token that the client sent, if any.

    Raises:
        HttpsRequired: It was sent over plain HTTP, where others could have read it.
    """
    if bearer is None:
        return None
    check_token_transport(request.scope, allow_insecure=services_of(request).allow_insecure_tokens)
    return bearer.credentials


def _name_in_log(request: Request, name: str | None) -> None:
    if name is not None:
        request.scope.setdefault("log", {})["token"] = name
