"""What people see in a browser: the form, the docs, and what a problem means. No outside host is asked for anything."""

from collections.abc import Iterator
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from recipe_api.errors import RecipeApiError
from recipe_api.web.problems import HTTP_CODES

_STATIC = Path(__file__).parent / "static"
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
_FORM_POLICY = f"{_POLICY}; form-action 'self'"
_DOCS_POLICY = f"{_POLICY}; script-src 'self'; connect-src 'self'"

_SWAGGER_UI_FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"})

router = APIRouter(include_in_schema=False)


def static_files() -> StaticFiles:
    """Our own style sheet and script."""
    return StaticFiles(directory=_STATIC)


@router.get("/swagger-ui/{name}")
async def swagger_ui_file(name: str) -> Response:
    """A file of Swagger UI's own distribution, from the package that carries it; not that package's code."""
    if name not in _SWAGGER_UI_FILES:
        raise HTTPException(404)
    return FileResponse(str(files("fastapi_swagger") / "resources" / name), headers={"Cache-Control": "max-age=86400"})


@router.get("/")
async def upload_form() -> Response:
    """The lesson's form; it works without a script."""
    return _page("form.html", policy=_FORM_POLICY)


@router.get("/docs")
async def docs() -> Response:
    """Swagger UI on our own OpenAPI document."""
    return _page("docs.html", policy=_DOCS_POLICY)


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


def _page(name: str, *, policy: str) -> Response:
    return FileResponse(_STATIC / name, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})


def _with_subclasses(error: type[RecipeApiError]) -> Iterator[type[RecipeApiError]]:
    yield error
    for subclass in error.__subclasses__():
        yield from _with_subclasses(subclass)
