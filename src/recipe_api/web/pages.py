"""The pages that people open in a browser: the upload page, the API documentation, and explanations of problems.

They load resources only from this host, and photos from the host where those are public. The only scripts and styles
that run are our own files.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from string import Template

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recipe_api.errors import RecipeApiError
from recipe_api.photos.kinds import ANYTHING
from recipe_api.photos.metadata import PhotoMetadata
from recipe_api.settings import Settings
from recipe_api.web.addresses import origin
from recipe_api.web.compression import CompressedFiles, CompressedText
from recipe_api.web.problems import HTTP_CODES
from recipe_api.web.static_files import FOLDER, REVALIDATED, static_file

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_DOCS_POLICY = f"{_POLICY}; form-action 'none'; img-src 'self' data:"

_SWAGGER_UI_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"})

router = APIRouter(include_in_schema=False)


class Page:
    """The page at `/`. Its HTML and its policy depend only on the settings, so both are rendered once."""

    def __init__(self, settings: Settings, *, photo_base_urls: Iterable[str]) -> None:
        addresses = [*photo_base_urls, *([settings.rendition_url] if settings.rendition_url else [])]
        origins = " ".join(sorted(map(origin, set(addresses))))
        policy = f"{_POLICY}; form-action 'self'; img-src 'self' data: blob: {origins}"
        self._html = CompressedText(
            _rendered_html(settings),
            media_type="text/html",
            headers={"Content-Security-Policy": policy, "Cache-Control": REVALIDATED},
        )

    def response(self, request: Request) -> Response:
        """Return the page, compressed if the client accepts it."""
        return self._html.response(request)


@cache
def _docs() -> CompressedText:
    return CompressedText(
        (FOLDER / "docs.html").read_text("utf-8"),
        media_type="text/html",
        headers={"Content-Security-Policy": _DOCS_POLICY, "Cache-Control": REVALIDATED},
    )


@cache
def _swagger_ui() -> CompressedFiles:
    return CompressedFiles(Path(str(files("fastapi_swagger") / "resources")), cache_control="max-age=86400")


@router.get("/static/{name}")
async def script_or_style(name: str, request: Request) -> Response:
    """Return one of our own scripts or style sheets."""
    return static_file(name, request)


@router.get("/swagger-ui/{name}")
async def swagger_ui_file(name: str, request: Request) -> Response:
    """Return a file of the Swagger UI distribution, and nothing else from the package that contains it."""
    if name not in _SWAGGER_UI_FILES:
        raise HTTPException(404)
    return await _swagger_ui().get_response(name, request.scope)


@router.get("/")
async def page(request: Request) -> Response:
    """Return the upload form, which scripts extend to a queue of uploads and a gallery."""
    made: Page = request.app.state.page
    return made.response(request)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Return Swagger UI, which reads our OpenAPI document."""
    return _docs().response(request)


@router.get("/problems/{code}")
async def problem_meaning(code: str) -> Response:
    """Explain a problem `type` to those who follow its link."""
    for error in _with_subclasses(RecipeApiError):
        if error.code == code:
            meaning = " ".join((error.__doc__ or error.title).split())
            return PlainTextResponse(f"{error.status} {error.title}\n\n{meaning}\n")
    for status, known in HTTP_CODES.items():
        if known == code:
            return PlainTextResponse(f"{status} {HTTPStatus(status).phrase}\n\n{HTTPStatus(status).description}.\n")
    raise HTTPException(404)


_METADATA_NOTES = {
    PhotoMetadata.REMOVE: "Photos are public. What the camera saved in them, such as the place where they were "
    "taken, is removed before they are published.",
    PhotoMetadata.KEEP: "Photos are published as they are, including everything the camera saved in them, often the "
    "place where they were taken.",
}


def _rendered_html(settings: Settings) -> str:
    accepts_anything = ANYTHING.content_type in settings.photo_types
    html = Template((FOLDER / "index.html").read_text("utf-8"))
    return html.substitute(
        root=settings.root_path,
        accept=escape("" if accepts_anything else ",".join(settings.photo_types)),
        max_photo_bytes=settings.max_upload_bytes,
        max_resumable_bytes=settings.max_staged_bytes,
        max_label_bytes=settings.max_label_bytes,
        metadata_note=_METADATA_NOTES[settings.photo_metadata],
    )


def _with_subclasses(error: type[RecipeApiError]) -> Iterator[type[RecipeApiError]]:
    yield error
    for subclass in error.__subclasses__():
        yield from _with_subclasses(subclass)
