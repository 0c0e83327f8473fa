"""The links to a photo's renditions, and the route that they lead to until a rendition has been made."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from recipe_api import errors
from recipe_api.database.models import RecipeRow
from recipe_api.settings import MAX_RENDITION_SIZE
from recipe_api.web.dependencies import AppServices, services_of
from recipe_api.web.problems import responses
from recipe_api.web.root_path import address
from recipe_api.web.schemas import RenditionOut

router = APIRouter(prefix="/recipe", tags=["recipes"])

_CACHED = "public, max-age=3600"
"""For redirects that stay valid. If the photo is deleted, their target no longer exists."""

_RESPONSE_HEADERS: dict[str, Any] = {
    "Location": {"description": "URL of the image.", "required": True, "schema": {"type": "string", "format": "uri"}},
    "Cache-Control": {
        "description": "`no-store` if the redirect is to the photo itself because the rendition does not exist yet.",
        "schema": {"type": "string"},
    },
}
_SIZE = Path(ge=1, le=MAX_RENDITION_SIZE, description="The longest side in pixels, as in the rendition's `location`.")


def renditions_of(request: Request, recipe: RecipeRow) -> list[RenditionOut]:
    """Return the renditions of a recipe as they appear in its JSON."""
    links = services_of(request).uploads.policy.renditions.links(recipe)
    path = address(request.scope, f"/recipe/{recipe.id}/photo") if links else ""
    return [
        {
            "width": link.width,
            "height": link.height,
            "content_type": link.content_type,
            "location": link.address or f"{path}/{link.size}",
        }
        for link in links
    ]


@router.get(
    "/{recipe_id}/photo/{size}",
    operation_id="getRendition",
    summary="Fetch a rendition of a photo",
    status_code=302,
    response_class=Response,
    response_description="A redirect to the rendition, or to the photo itself.",
    responses={
        302: {"headers": _RESPONSE_HEADERS},
        **responses(
            errors.RecipeNotFound, errors.InvalidParameter, errors.RenditionPending, errors.DatabaseUnavailable
        ),
    },
)
async def get_rendition(recipe_id: UUID, size: Annotated[int, _SIZE], services: AppServices) -> Response:
    """Redirect to a rendition. If it does not exist yet, it is made first: a second or two, and 8 s at most.

    A size that is not offered redirects to the next larger one. While the service is busy with other photos, the
    response is a redirect to the photo itself, or 503 if browsers cannot display that. Anyone who knows the recipe's id
    may send this request.
    """
    found = await services.renditions.locate(recipe_id, size)
    headers = {
        "Cache-Control": _CACHED if found.is_final else "no-store",
        "Cross-Origin-Resource-Policy": "cross-origin",  # pages of other sites may show photos, which are public
    }
    return RedirectResponse(found.address, 302, headers)
