"""What routes ask for: who may, the form on the wire, and the services behind them.

None of these reads the body, so a token is checked before a byte of it is.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from recipe_api.multipart import WireForm, boundary_of
from recipe_api.resources import Resources
from recipe_api.settings import KIB
from recipe_api.uploads.idempotency import UploadKey
from recipe_api.uploads.service import Uploads
from recipe_api.web.body import Patience, announced_bytes, read_body
from recipe_api.web.tokens import Tokens

FORM_OVERHEAD_BYTES = 64 * KIB
"""What boundaries, part headers and fields that nobody reads may add to the photo and the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the app is made of, for routes to ask for."""

    resources: Resources
    uploads: Uploads
    tokens: Tokens
    patience: Patience


async def services_of(request: Request) -> Services:
    """The services of the app that answers this request."""
    services: Services = request.app.state.services
    return services


AppServices = Annotated[Services, Depends(services_of)]

_bearer = HTTPBearer(auto_error=False, description="An API token, or the manage_token of one recipe.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def api_token(request: Request, services: AppServices, bearer: Bearer) -> str | None:
    """Lets uploaders and listers pass: whoever holds an API token, whose name it is, or anyone where there are none."""
    name = services.tokens.authorize_api(bearer.credentials if bearer else None)
    _name_in_log(request, name)
    return name


async def manage_token(request: Request, recipe_id: UUID, services: AppServices, bearer: Bearer) -> None:
    """Lets those pass who may rename and delete this recipe."""
    _name_in_log(request, services.tokens.authorize_manage(bearer.credentials if bearer else None, recipe_id))


async def upload_key(
    caller: Annotated[str | None, Depends(api_token)],
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]+$",
            description="Any text of your own, new for each upload: sent again with the same form, it makes no second "
            "recipe but gets the first one's answer.",
        ),
    ] = None,
) -> UploadKey | None:
    """The idempotency key that an upload carries, in the scope of the token it came with."""
    return UploadKey(caller or "", idempotency_key) if idempotency_key else None


async def wire_form(request: Request, services: AppServices) -> WireForm:
    """The upload's form, of which nothing has been read yet; refused already where the headers say enough."""
    boundary = boundary_of(request.headers.get("content-type"))
    policy = services.uploads.policy
    limit = policy.max_photo_bytes + policy.max_label_bytes + FORM_OVERHEAD_BYTES
    announced = announced_bytes(request, limit=limit)
    chunks = read_body(request, limit=limit if announced is None else announced, patience=services.patience)
    return WireForm(chunks, boundary=boundary, rules=policy.form_rules(), announced=announced)


Form = Annotated[WireForm, Depends(wire_form)]
Key = Annotated[UploadKey | None, Depends(upload_key)]


def _name_in_log(request: Request, name: str | None) -> None:
    if name is not None:
        request.scope.setdefault("log", {})["token"] = name
