"""`POST /recipe`: from the request on the wire to the answer.

A token is checked first, then what the headers say; only then does the upload read the body, which nobody else does.
So body and headers are described to OpenAPI by hand.
"""

import re
from typing import Any

from fastapi import FastAPI, Request, Response

from recipe_api import errors
from recipe_api.asgi import window_of
from recipe_api.multipart import WireForm, boundary_of
from recipe_api.settings import KIB
from recipe_api.uploads.idempotency import UploadKey
from recipe_api.web.body import announced_bytes, read_body
from recipe_api.web.dependencies import BEARER, Services, api_token, services_of
from recipe_api.web.direct import DirectRoute
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.schemas import CreatedRecipeOut

FORM_OVERHEAD_BYTES = 64 * KIB
"""What boundaries, part headers and fields that nobody reads may add to the photo and the label."""
MAX_KEY_LENGTH = 255

_KEY_HEADER = "Idempotency-Key"
_KEY_MEANING = (
    "Any text of your own, new for each upload: sent again with the same form, it makes no second recipe but gets the "
    "first one's answer."
)
_KEY_PATTERN = r"^[\x20-\x7e]+$"
_KEY = re.compile(_KEY_PATTERN)


_DESCRIBED: dict[str, Any] = {
    "security": [{"HTTPBearer": []}],
    "parameters": [
        {
            "name": _KEY_HEADER,
            "in": "header",
            "required": False,
            "schema": {
                "anyOf": [
                    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": _KEY_PATTERN},
                    {"type": "null"},
                ],
                "description": _KEY_MEANING,
                "title": _KEY_HEADER,
            },
            "description": _KEY_MEANING,
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "title": "RecipeUpload",
                    "required": ["label", "photo"],
                    "properties": {
                        "label": {
                            "type": "string",
                            "minLength": 1,
                            "description": "What the photo shows; not blank, without NUL.",
                        },
                        "photo": {"type": "string", "format": "binary", "minLength": 1, "description": "The photo."},
                    },
                    "additionalProperties": {"type": "string", "description": "Passed over."},
                    "propertyNames": {"pattern": "^[A-Za-z0-9_.-]+$"},
                },
                "examples": {"pancakes": {"value": {"label": "Pancakes"}}},
            }
        },
    },
}


_ANSWERED: dict[str, Any] = {
    "Location": {"description": "Path of the recipe.", "required": True, "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "There where an earlier upload with the same key was answered again.",
        "schema": {"type": "string", "const": "true"},
    },
}


def install(app: FastAPI) -> None:
    """Makes `app` take uploads; not by way of a router, which would look for the route once more for each of them."""
    app.router.add_api_route(
        "/recipe",
        upload_recipe,
        methods=["POST"],
        tags=["recipes"],
        operation_id="uploadRecipe",
        summary="Upload a photo with its label",
        status_code=201,
        response_description="The photo is stored and recorded.",
        response_model=CreatedRecipeOut,
        responses={201: {"headers": _ANSWERED}, **responses(*_REFUSALS)},
        openapi_extra=_DESCRIBED,
        route_class_override=DirectRoute,
    )


_REFUSALS = (
    errors.MalformedBody,
    errors.TokenWanted,
    errors.TokenUnknown,
    errors.BodyStalled,
    errors.KeyInUse,
    errors.PhotoTooLarge,
    errors.TextTooLarge,
    errors.TooManyParts,
    errors.BodyTooLarge,
    errors.NotMultipart,
    errors.UnsupportedPhoto,
    *TEXT_ERRORS,
    errors.FieldRepeated,
    errors.FieldUnexpected,
    errors.InvalidParameter,
    errors.KeyReused,
    errors.ServiceFull,
    errors.ServiceStopping,
    errors.StorageUnavailable,
    errors.DatabaseUnavailable,
)


async def upload_recipe(request: Request) -> Response:
    """Streams the photo to the object store while it arrives, then records it.

    `label` and `photo` come in either order. The photo's kind is told by its own first bytes. A 201 means that the
    photo can be fetched from `location`, and that the record is committed; after anything else neither exists.

    With an `Idempotency-Key`, an upload whose answer was lost can be sent again: it gets the same answer, marked
    `Idempotency-Replayed: true`, and makes no second recipe.
    """
    services = services_of(request)
    caller = await api_token(request, await BEARER(request))
    key = _upload_key(request, caller)
    form = _wire_form(request, services)
    try:
        created = await services.uploads.create(form, key=key)
    finally:
        await form.close()
    recipe = created.recipe
    headers = {"Location": f"/recipe/{recipe.id}"} | ({"Idempotency-Replayed": "true"} if created.replayed else {})
    out = CreatedRecipeOut.created(recipe, manage_token=services.tokens.manage_token(recipe.id))
    return Response(out.model_dump_json(), 201, headers, "application/json")


def _upload_key(request: Request, caller: str | None) -> UploadKey | None:
    """The idempotency key, in the scope of the token that the upload came with."""
    keys = request.headers.getlist(_KEY_HEADER)
    if not keys:
        return None
    if len(keys) > 1:
        raise errors.InvalidParameter(f"{_KEY_HEADER}: send one, not {len(keys)}.", field=_KEY_HEADER)
    key = keys[0]
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise errors.InvalidParameter(
            f"{_KEY_HEADER}: send 1 to {MAX_KEY_LENGTH} printable characters of ASCII.", field=_KEY_HEADER
        )
    return UploadKey(caller or "", key)


def _wire_form(request: Request, services: Services) -> WireForm:
    """The form on the wire, refused already where its headers say enough."""
    boundary = boundary_of(request.headers.get("content-type"))
    rules = services.uploads.form_rules
    limit = rules.max_file_bytes + rules.max_text_bytes + FORM_OVERHEAD_BYTES
    announced = announced_bytes(request, limit=limit)
    chunks = read_body(request, limit=limit if announced is None else announced, patience=services.patience)
    window = window_of(request.scope)
    return WireForm(chunks, boundary=boundary, rules=rules, announced=announced, window=window)
