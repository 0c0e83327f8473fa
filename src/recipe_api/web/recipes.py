"""The routes that list, read, rename and delete recipes.

The routes' dependencies check the token before a route reads its body. FastAPI would read the body first, so the routes
read it themselves and describe it to OpenAPI by hand.
"""

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from recipe_api import errors
from recipe_api.database.models import Recipe
from recipe_api.database.repository import Position
from recipe_api.web.body import read_json
from recipe_api.web.compression import CompressedRoute
from recipe_api.web.dependencies import AppServices, api_token, manage_token
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.renditions import renditions_of
from recipe_api.web.root_path import address
from recipe_api.web.schemas import RecipeChange, RecipeOut, RecipePageOut

router = APIRouter(prefix="/recipe", tags=["recipes"], route_class=CompressedRoute)

_CHANGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": RecipeChange.model_json_schema()}},
    }
}


@router.get(
    "",
    operation_id="listRecipes",
    summary="List recipes, newest first",
    dependencies=[Depends(api_token)],
    responses=responses(
        errors.TokenRequired,
        errors.UnknownToken,
        errors.HttpsRequired,
        errors.InvalidParameter,
        errors.DatabaseUnavailable,
    ),
)
async def list_recipes(
    request: Request,
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=200, description="The maximum number of recipes on a page.")] = 50,
    after: Annotated[
        str | None,
        Query(pattern=r"^[A-Za-z0-9_-]{32}$", description="Where the previous page ended, as its `next` says."),
    ] = None,
) -> RecipePageOut:
    """Return one page. Follow `next` until it is null; uploads in the meantime neither repeat nor hide a recipe."""
    page = await services.uploads.page(after=_position(after) if after is not None else None, limit=limit)
    following = None
    if page.next:
        following = address(request.scope, f"/recipe?{urlencode({'limit': limit, 'after': _cursor(page.next)})}")
    return RecipePageOut(items=[_recipe_out(request, recipe) for recipe in page.recipes], next=following)


@router.get(
    "/{recipe_id}",
    operation_id="getRecipe",
    summary="Read a recipe",
    responses=responses(errors.RecipeNotFound, errors.InvalidParameter, errors.DatabaseUnavailable),
)
async def get_recipe(recipe_id: UUID, request: Request, services: AppServices) -> RecipeOut:
    """Return a recipe to anyone who knows its id."""
    return _recipe_out(request, await services.uploads.get(recipe_id))


@router.patch(
    "/{recipe_id}",
    operation_id="renameRecipe",
    summary="Change a recipe's label",
    dependencies=[Depends(manage_token)],
    responses=responses(
        errors.RequestRefused,
        errors.MalformedBody,
        errors.TokenRequired,
        errors.PermissionDenied,
        errors.HttpsRequired,
        errors.RecipeNotFound,
        errors.BodyStalled,
        errors.TextTooLarge,
        errors.BodyTooLarge,
        errors.NotJson,
        errors.UnsupportedEncoding,
        *TEXT_ERRORS,
        errors.InvalidField,
        errors.InvalidParameter,
        errors.DatabaseUnavailable,
    ),
    openapi_extra=_CHANGE_BODY,
)
async def rename_recipe(recipe_id: UUID, request: Request, services: AppServices) -> RecipeOut:
    """Change the label. This needs the recipe's manage token or an API token."""
    change = await read_json(request, RecipeChange, timeouts=services.body_timeouts)
    return _recipe_out(request, await services.uploads.rename(recipe_id, change.label))


@router.delete(
    "/{recipe_id}",
    operation_id="deleteRecipe",
    summary="Delete a recipe and its photo",
    status_code=204,
    dependencies=[Depends(manage_token)],
    responses=responses(
        errors.TokenRequired,
        errors.PermissionDenied,
        errors.HttpsRequired,
        errors.RecipeNotFound,
        errors.InvalidParameter,
        errors.DatabaseUnavailable,
    ),
)
async def delete_recipe(recipe_id: UUID, services: AppServices) -> Response:
    """Delete the row, then the photo. This needs the recipe's manage token or an API token.

    If the object store is unavailable, the photo is deleted as soon as it is back. A shared cache such as a CDN may
    serve the photo for `SHARED_CACHE_SECONDS` longer, an hour by default, and a browser that has shown it for a year.
    """
    await services.uploads.delete(recipe_id)
    return Response(status_code=204)


def _recipe_out(request: Request, recipe: Recipe) -> RecipeOut:
    return RecipeOut.of(recipe, renditions=renditions_of(request, recipe))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH
_CURSOR = ">Q16s"  # microseconds since the epoch, the id


def _cursor(position: Position) -> str:
    microseconds = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(struct.pack(_CURSOR, microseconds, position.id.bytes)).decode("ascii")


def _position(cursor: str) -> Position:
    microseconds, id_bytes = struct.unpack(_CURSOR, base64.urlsafe_b64decode(cursor))
    return Position(_EPOCH + min(timedelta(microseconds=microseconds), _LATEST), UUID(bytes=id_bytes))
