"""The API but for the upload: list, read, rename, delete.

A token is checked first, by the routes' dependencies; only then does a route read its body, which is why bodies are
described to OpenAPI by hand.
"""

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from recipe_api import errors
from recipe_api.database.repository import Position
from recipe_api.web.body import read_json
from recipe_api.web.dependencies import AppServices, api_token, manage_token
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.schemas import RecipeChange, RecipeOut, RecipePageOut

router = APIRouter(prefix="/recipe", tags=["recipes"])

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
    responses=responses(errors.TokenWanted, errors.TokenUnknown, errors.InvalidParameter, errors.DatabaseUnavailable),
)
async def list_recipes(
    services: AppServices,
    limit: Annotated[int, Query(ge=1, le=200, description="The most to answer at once.")] = 50,
    after: Annotated[
        str | None, Query(pattern=r"^[A-Za-z0-9_-]{32}$", description="Where a page ended; taken from its `next`.")
    ] = None,
) -> RecipePageOut:
    """A page at a time; follow `next` until it is null. Uploads in the meantime neither repeat nor hide any."""
    page = await services.uploads.page(after=_position(after) if after is not None else None, limit=limit)
    following = f"/recipe?{urlencode({'limit': limit, 'after': _cursor(page.next)})}" if page.next else None
    return RecipePageOut(items=[RecipeOut.of(recipe) for recipe in page.recipes], next=following)


@router.get(
    "/{recipe_id}",
    operation_id="getRecipe",
    summary="Read a recipe",
    responses=responses(errors.RecipeNotFound, errors.InvalidParameter, errors.DatabaseUnavailable),
)
async def get_recipe(recipe_id: UUID, services: AppServices) -> RecipeOut:
    """Whoever knows the id may read it."""
    return RecipeOut.of(await services.uploads.get(recipe_id))


@router.patch(
    "/{recipe_id}",
    operation_id="renameRecipe",
    summary="Change a recipe's label",
    dependencies=[Depends(manage_token)],
    responses=responses(
        errors.MalformedBody,
        errors.TokenWanted,
        errors.TokenRefused,
        errors.RecipeNotFound,
        errors.BodyStalled,
        errors.TextTooLarge,
        errors.BodyTooLarge,
        errors.NotJson,
        *TEXT_ERRORS,
        errors.InvalidField,
        errors.InvalidParameter,
        errors.DatabaseUnavailable,
    ),
    openapi_extra=_CHANGE_BODY,
)
async def rename_recipe(recipe_id: UUID, request: Request, services: AppServices) -> RecipeOut:
    """Wants the recipe's manage token or an API token."""
    change = await read_json(request, RecipeChange, patience=services.patience)
    return RecipeOut.of(await services.uploads.rename(recipe_id, change.label))


@router.delete(
    "/{recipe_id}",
    operation_id="deleteRecipe",
    summary="Delete a recipe and its photo",
    status_code=204,
    dependencies=[Depends(manage_token)],
    responses=responses(
        errors.TokenWanted,
        errors.TokenRefused,
        errors.RecipeNotFound,
        errors.InvalidParameter,
        errors.DatabaseUnavailable,
    ),
)
async def delete_recipe(recipe_id: UUID, services: AppServices) -> Response:
    """Wants the recipe's manage token or an API token. Caches may show the photo for a while longer."""
    await services.uploads.delete(recipe_id)
    return Response(status_code=204)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH
_CURSOR = ">Q16s"  # microseconds since the epoch, the id


def _cursor(position: Position) -> str:
    microseconds = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(struct.pack(_CURSOR, microseconds, position.id.bytes)).decode("ascii")


def _position(cursor: str) -> Position:
    microseconds, id_bytes = struct.unpack(_CURSOR, base64.urlsafe_b64decode(cursor))
    return Position(_EPOCH + min(timedelta(microseconds=microseconds), _LATEST), UUID(bytes=id_bytes))
