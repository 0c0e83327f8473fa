"""What routes ask for: who may, and the services behind them. None of it reads the body."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from recipe_api.resources import Resources
from recipe_api.uploads.service import Uploads
from recipe_api.web.body import Patience
from recipe_api.web.tokens import Tokens

BEARER = HTTPBearer(auto_error=False, description="An API token, or the manage_token of one recipe.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the app is made of, for routes to ask for."""

    resources: Resources
    uploads: Uploads
    tokens: Tokens
    patience: Patience


def services_of(request: Request) -> Services:
    """The services of the app that answers this request."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)  # FastAPI would give a plain function a thread


AppServices = Annotated[Services, Depends(_services)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


async def api_token(request: Request, bearer: Bearer) -> str | None:
    """Lets uploaders and listers pass: whoever holds an API token, whose name it is, or anyone where there are none."""
    name = services_of(request).tokens.authorize_api(bearer.credentials if bearer else None)
    _name_in_log(request, name)
    return name


async def manage_token(request: Request, recipe_id: UUID, bearer: Bearer) -> None:
    """Lets those pass who may rename and delete this recipe."""
    tokens = services_of(request).tokens
    _name_in_log(request, tokens.authorize_manage(bearer.credentials if bearer else None, recipe_id))


def _name_in_log(request: Request, name: str | None) -> None:
    if name is not None:
        request.scope.setdefault("log", {})["token"] = name
