"""`POST /recipe`: receives an upload.

The route checks the token first, then the headers. Only then does the upload read the body, which FastAPI must not
read. So the body and the headers are described to OpenAPI by hand.
"""

import re
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response

from recipe_api import errors
from recipe_api.asgi import headers_of, read_ahead_of
from recipe_api.multipart import StreamingForm, parse_boundary
from recipe_api.units import KIB, size_in_words
from recipe_api.uploads.admission import ClientContext
from recipe_api.uploads.clock import UploadClock
from recipe_api.uploads.idempotency import UploadKey, is_unguessable
from recipe_api.uploads.service import Created
from recipe_api.uploads.source import FormSource
from recipe_api.web import plain_form, rate_limit
from recipe_api.web.body import Arrival, content_type, declared_length, is_json, read_body, read_json
from recipe_api.web.clients import account_of, holders
from recipe_api.web.dependencies import Services, authorized, services_of
from recipe_api.web.direct import DirectRoute
from recipe_api.web.negotiation import prefers_html
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.renditions import renditions_of
from recipe_api.web.root_path import address
from recipe_api.web.schemas import CREATED_RECIPE, CreatedRecipeOut, UploadCompletion, created_recipe_out
from recipe_api.web.tokens import ANYONE, Caller

FORM_OVERHEAD_BYTES = 64 * KIB
"""Allowance for boundaries, part headers and ignored fields, in addition to the photo and the label."""
MAX_KEY_LENGTH = 255

_KEY_HEADER = "Idempotency-Key"
_KEY_DESCRIPTION = (
    "A random UUID such as 1f0f4b2e-6c5b-4c5e-9d0a-8f5b6f1f6a3d, new for each upload. If the same form is sent again "
    "with the same key, no second recipe is created, and the response repeats that to the first upload, including its "
    "manage token, so keep the key secret. Without an API token that may rename and delete, a key must be a UUID of "
    "version 4 or 7, at least 32 hexadecimal digits, or at least 22 characters of base64url with upper-case and "
    "lower-case letters."
)
_KEY_PATTERN = r"^[\x20-\x7e]+$"
_KEY = re.compile(_KEY_PATTERN)


_OPENAPI: dict[str, Any] = {
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
                "description": _KEY_DESCRIPTION,
                "title": _KEY_HEADER,
            },
            "description": _KEY_DESCRIPTION,
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
                            "description": "What the photo shows; not blank, without NUL characters. UTF-8, unless "
                            "its part declares another `charset` or a `Content-Transfer-Encoding`.",
                        },
                        "photo": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "The photo's own bytes. Unless the service is configured otherwise, "
                            "its metadata is removed before it is stored.",
                        },
                    },
                    "additionalProperties": {"type": "string", "description": "Ignored."},
                    "propertyNames": {"pattern": "^[A-Za-z0-9_.-]+$"},
                },
                "examples": {"pancakes": {"value": {"label": "Pancakes"}}},
            },
            "application/json": {"schema": UploadCompletion.model_json_schema()},
        },
    },
}


_RESPONSE_HEADERS: dict[str, Any] = {
    "Location": {"description": "Path of the recipe.", "required": True, "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "Present if the response repeats that of an earlier upload with the same key.",
        "schema": {"type": "string", "const": "true"},
    },
    **rate_limit.OPENAPI,
}


def install(app: FastAPI) -> None:
    """Add the upload route to `app` itself: an included router would match the path a second time."""
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
        responses={201: {"headers": _RESPONSE_HEADERS}, **responses(*_ERRORS)},
        openapi_extra=_OPENAPI,
        route_class_override=DirectRoute,
    )


_ERRORS = (
    errors.RequestRefused,
    errors.MalformedBody,
    errors.TokenRequired,
    errors.UnknownToken,
    errors.HttpsRequired,
    errors.CrossSiteForm,
    errors.RecipeNotFound,
    errors.UploadNotFound,
    errors.BodyStalled,
    errors.IdempotencyKeyInUse,
    errors.UploadIncomplete,
    errors.UploadInProgress,
    errors.UploadExpired,
    errors.FileTooLarge,
    errors.TextTooLarge,
    errors.TooManyParts,
    errors.BodyTooLarge,
    errors.NotMultipart,
    errors.UnsupportedEncoding,
    errors.UnsupportedFile,
    errors.PhotoMalformed,
    *TEXT_ERRORS,
    errors.InvalidField,
    errors.FieldRepeated,
    errors.FieldUnexpected,
    errors.InvalidParameter,
    errors.IdempotencyKeyReused,
    errors.TooManyRequests,
    errors.QuotaExceeded,
    errors.ServiceFull,
    errors.ServiceStopping,
    errors.StorageUnavailable,
    errors.DatabaseUnavailable,
)


async def upload_recipe(request: Request) -> Response:
    """Stream the photo to the object store while it arrives, then record it.

    `label` and `photo` may come in either order. The photo's first bytes determine its type. A 201 means that the photo
    can be fetched from `location` and that the record is committed. After any other final response, neither exists.

    Metadata, such as the place where the photo was taken, is removed before the photo is stored, without loss to the
    pixels, unless the service is configured to keep it. The recipe's `metadata` says which.

    The body may also be JSON: `{"upload": ID, "label": LABEL}` makes a recipe from a staged upload whose pieces have
    all arrived. This needs no token. A repeated request gets the same response, with `Idempotency-Replayed: true`.

    With an `Idempotency-Key`, an upload whose response was lost can be sent again. It gets the same response, marked
    `Idempotency-Replayed: true`, and no second recipe is created.

    A client whose `Accept` header prefers `text/html` to `application/json`, such as a browser that submits a plain
    form, gets an HTML page instead of JSON, with the same status and headers. That includes errors.
    """
    services = services_of(request)
    created, account = await (_complete if is_json(request) else _receive)(request, services)
    recipe = created.recipe
    services.renditions.offer(recipe)
    headers = {
        "Location": address(request.scope, f"/recipe/{recipe.id}"),
        "Cache-Control": "no-store",  # it contains a token
        **plain_form.VARY,
        **rate_limit.fields(services.uploads.usage.allowances(account)),
    }
    if created.replayed:
        headers["Idempotency-Replayed"] = "true"
    out = created_recipe_out(
        recipe,
        renditions=renditions_of(request, recipe),
        manage_token=services.tokens.manage_token(recipe.id),
    )
    if prefers_html(headers_of(request.scope)):
        return plain_form.created_page(request.scope, out, headers=headers)
    return Response(CREATED_RECIPE.dump_json(out), 201, headers, "application/json")


async def _receive(request: Request, services: Services) -> tuple[Created, str | None]:
    """Create a recipe from the form in the request. Also return the client whose quotas the upload counted towards."""
    caller = await authorized(request)
    if caller is ANYONE:
        services.cross_site_forms.check(request)
    key = _upload_key(request, caller)
    arrival = Arrival(services.body_timeouts)
    account = account_of(request.scope, caller) if services.uploads.usage.is_limited else None
    client = ClientContext(identities=holders(request.scope, token=caller.name), arrival=arrival, account=account)
    source = _source(request, services, arrival)
    try:
        return await services.uploads.create(source, key=key, client=client), account
    finally:
        await source.form.close()


async def _complete(request: Request, services: Services) -> tuple[Created, None]:
    """Create a recipe from a staged upload, whose id is the only permission needed. It was counted when it began."""
    completion = await read_json(request, UploadCompletion, timeouts=services.body_timeouts)
    client = ClientContext(identities=holders(request.scope, token=None))
    return await services.staging.complete(completion.upload, label=completion.label, client=client), None


def _upload_key(request: Request, caller: Caller) -> UploadKey | None:
    """Return the idempotency key, in the scope of the caller's API token.

    Callers who may not manage every recipe share a scope with strangers: without API tokens everyone does, and a token
    for uploads only may be in a public page. They need a key that cannot be guessed.
    """
    keys = headers_of(request.scope).values(b"idempotency-key")
    if not keys:
        return None
    if len(keys) > 1:
        raise errors.InvalidParameter(f"{_KEY_HEADER}: send one, not {len(keys)}.", field=_KEY_HEADER)
    key = keys[0].decode("latin-1")
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise errors.InvalidParameter(
            f"{_KEY_HEADER}: send 1 to {MAX_KEY_LENGTH} printable ASCII characters.", field=_KEY_HEADER
        )
    if not caller.manages_all and not is_unguessable(key):
        raise errors.InvalidParameter(
            f"{_KEY_HEADER}: this key can be guessed, and with it the recipe's manage token. Send a random UUID.",
            field=_KEY_HEADER,
        )
    return UploadKey(caller.name or "", key)


def _source(request: Request, services: Services, arrival: Arrival) -> FormSource:
    """Return the form that is arriving, unless the request's headers already show that it cannot be accepted."""
    boundary = parse_boundary(content_type(request))
    rules = services.uploads.form_rules
    limit = rules.max_file_bytes + rules.max_text_bytes + FORM_OVERHEAD_BYTES
    too_large = partial(_form_too_large, rules.max_file_bytes)
    declared = declared_length(request, limit=limit, too_large=too_large)
    clock = UploadClock(size=declared, read_ahead=services.uploads.policy.part_size)
    chunks = read_body(
        request,
        limit=limit if declared is None else declared,
        arrival=arrival,
        clock=clock,
        too_large=too_large,
    )
    form = StreamingForm(chunks, boundary=boundary, rules=rules)
    return FormSource(form=form, size=declared, clock=clock, read_ahead=read_ahead_of(request.scope))


def _form_too_large(max_photo_bytes: int, limit: int) -> errors.BodyTooLarge:
    rest = size_in_words(limit - max_photo_bytes)
    return errors.BodyTooLarge(
        f"A photo may have at most {size_in_words(max_photo_bytes)}, and the rest of the form {rest}. Send less."
    )
