"""What people see in a browser: the page, the docs, and what a problem means.

No host is asked for anything but this one, and for photos the one under which they are public. No script or style runs
that is not a file of ours.
"""

from collections.abc import Iterable, Iterator
from html import escape
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from recipe_api.errors import RecipeApiError
from recipe_api.kinds import ANYTHING
from recipe_api.settings import Settings
from recipe_api.web.problems import HTTP_CODES

_STATIC = Path(__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_DOCS_POLICY = f"{_POLICY}; form-action 'none'; img-src 'self' data:"
_CHECKED_AGAIN = {"Cache-Control": "no-cache"}
"""For what a release changes together: modules of two releases do not fit."""

_SWAGGER_UI_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"})

router = APIRouter(include_in_schema=False)


class Page:
    """The page at `/`: what the settings say of photos filled into its HTML and its policy, once."""

    def __init__(self, settings: Settings, *, photos_at: Iterable[str]) -> None:
        self._html = _filled(settings)
        origins = " ".join(sorted({_origin(address) for address in photos_at}))
        policy = f"{_POLICY}; form-action 'self'; img-src 'self' data: blob: {origins}"
        self._headers = {"Content-Security-Policy": policy, **_CHECKED_AGAIN}

    def response(self) -> Response:
        """The page as an answer."""
        return HTMLResponse(self._html, headers=self._headers)


class _OurFiles(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - passed on as they are
        response = super().file_response(*args, **kwargs)
        response.headers.update(_CHECKED_AGAIN)
        return response


def static_files() -> StaticFiles:
    """Our own style sheets and scripts."""
    return _OurFiles(directory=_STATIC)


@router.get("/swagger-ui/{name}")
async def swagger_ui_file(name: str) -> Response:
    """A file of Swagger UI's own distribution, from the package that carries it; not that package's code."""
    if name not in _SWAGGER_UI_FILES:
        raise HTTPException(404)
    return FileResponse(str(files("fastapi_swagger") / "resources" / name), headers={"Cache-Control": "max-age=86400"})


@router.get("/")
async def page(request: Request) -> Response:
    """The lesson's form, which works without a script, and with one a queue of uploads and a gallery."""
    made: Page = request.app.state.page
    return made.response()


@router.get("/docs")
async def docs() -> Response:
    """Swagger UI on our own OpenAPI document."""
    return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _DOCS_POLICY, **_CHECKED_AGAIN})


@router.get("/problems/{code}")
async def problem_meaning(code: str) -> Response:
    """What a problem's `type` means, for whoever follows it."""
    for error in _with_subclasses(RecipeApiError):
        if error.code == code:
            meaning = " ".join((error.__doc__ or error.title).split())
            return PlainTextResponse(f"{error.status} {error.title}\n\n{meaning}\n")
    for status, known in HTTP_CODES.items():
        if known == code:
            return PlainTextResponse(f"{status} {HTTPStatus(status).phrase}\n\n{HTTPStatus(status).description}.\n")
    raise HTTPException(404)


def _filled(settings: Settings) -> str:
    takes_anything = ANYTHING.content_type in settings.photo_types
    html = Template((_STATIC / "index.html").read_text("utf-8"))
    return html.substitute(
        accept=escape("" if takes_anything else ",".join(settings.photo_types)),
        max_photo_bytes=settings.max_upload_bytes,
        max_label_bytes=settings.max_label_bytes,
    )


def _origin(address: str) -> str:
    parts = urlsplit(address)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    return f"{parts.scheme}://{host}"


def _with_subclasses(error: type[RecipeApiError]) -> Iterator[type[RecipeApiError]]:
    yield error
    for subclass in error.__subclasses__():
        yield from _with_subclasses(subclass)
