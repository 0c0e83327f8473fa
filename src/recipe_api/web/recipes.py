"""The routes that list, read, rename and delete recipes.

The routes' dependencies check the token before a route reads its body. FastAPI would read the body first, so the routes
read it themselves and describe it to OpenAPI by hand.
"""

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from recipe_api import errors
from recipe_api.database.models import RecipeRow
from recipe_api.database.repository import Position
from recipe_api.web.body import read_json
from recipe_api.web.compression import json_response
from recipe_api.web.dependencies import AppServices, authorized, manage_token, services_of
from recipe_api.web.direct import DirectRoute
from recipe_api.web.parameters import described, path_of, query_of
from recipe_api.web.problems import TEXT_ERRORS, responses
from recipe_api.web.renditions import renditions_of
from recipe_api.web.root_path import address
from recipe_api.web.schemas import RECIPE, RECIPE_PAGE, RecipeChange, RecipeOut, RecipePageOut, recipe_out

router = APIRouter(prefix="/recipe", tags=["recipes"])

_CHANGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": RecipeChange.model_json_schema()}},
    }
}


class PageQuery(BaseModel):
    """The parameters of a list."""

    limit: int = Field(50, ge=1, le=200, description="The maximum number of recipes on a page.")
    after: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{32}$", description="The cursor in the `next` of the previous page."
    )


class RecipePath(BaseModel):
    """The parameter in the path of a recipe."""

    recipe_id: UUID


def install(app: FastAPI) -> None:
    """Add the routes that read to `app` itself, so that they receive the request itself; see `DirectRoute`."""
    app.router.add_api_route(
        "/recipe",
        list_recipes,
        methods=["GET"],
        tags=["recipes"],
        operation_id="listRecipes",
        summary="List recipes, newest first",
        response_model=RecipePageOut,
        responses=responses(
            errors.TokenRequired,
            errors.UnknownToken,
            errors.HttpsRequired,
            errors.InvalidParameter,
            errors.DatabaseUnavailable,
        ),
        openapi_extra={"security": [{"HTTPBearer": []}], "parameters": described(PageQuery, place="query")},
        route_class_override=DirectRoute,
    )
    app.router.add_api_route(
        "/recipe/{recipe_id}",
        get_recipe,
        methods=["GET"],
        tags=["recipes"],
        operation_id="getRecipe",
        summary="Read a recipe",
        response_model=RecipeOut,
        responses=responses(errors.RecipeNotFound, errors.InvalidParameter, errors.DatabaseUnavailable),
        openapi_extra={"parameters": described(RecipePath, place="path")},
        route_class_override=DirectRoute,
    )


async def list_recipes(request: Request) -> Response:
    """Return one page. Follow `next` until it is null; uploads in the meantime neither repeat nor hide a recipe."""
    await authorized(request)
    query = query_of(request, PageQuery)
    after = None if query.after is None else _position(query.after)
    page = await services_of(request).uploads.page(after=after, limit=query.limit)
    following = None
    if page.next:
        following = address(request.scope, f"/recipe?{urlencode({'limit': query.limit, 'after': _cursor(page.next)})}")
    items = [recipe_out(recipe, renditions=renditions_of(request, recipe)) for recipe in page.recipes]
    return await json_response(RECIPE_PAGE.dump_json({"items": items, "next": following}), request.scope)


async def get_recipe(request: Request) -> Response:
    """Return a recipe to anyone who knows its id."""
    recipe_id = path_of(request, RecipePath).recipe_id
    return await _response(request, await services_of(request).uploads.get(recipe_id))


@router.patch(
    "/{recipe_id}",
    operation_id="renameRecipe",
    summary="Change a recipe's label",
    response_model=RecipeOut,
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
async def rename_recipe(recipe_id: UUID, request: Request, services: AppServices) -> Response:
    """Change the label. This needs the recipe's manage token or an API token."""
    change = await read_json(request, RecipeChange, timeouts=services.body_timeouts)
    return await _response(request, await services.uploads.rename(recipe_id, change.label))


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


async def _response(request: Request, recipe: RecipeRow) -> Response:
    out = recipe_out(recipe, renditions=renditions_of(request, recipe))
    return await json_response(RECIPE.dump_json(out), request.scope)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH
_CURSOR = ">Q16s"  # microseconds since the epoch, the id


def _cursor(position: Position) -> str:
    microseconds = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(struct.pack(_CURSOR, microseconds, position.id.bytes)).decode("ascii")


def _position(cursor: str) -> Position:
    microseconds, id_bytes = struct.unpack(_CURSOR, base64.urlsafe_b64decode(cursor))
    return Position(_EPOCH + min(timedelta(microseconds=microseconds), _LATEST), UUID(bytes=id_bytes))
