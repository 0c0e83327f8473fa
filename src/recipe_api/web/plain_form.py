"""HTML responses to the plain form, which a browser without scripts submits.

They have the same status and headers as the JSON responses, `Location` included. The `Accept` header identifies a
browser that submits a form. The pages load only the service's style sheet and the photo, run no scripts, and are
neither cached nor compressed, since one of them shows a manage token.
"""

from functools import cache
from html import escape
from pathlib import Path
from string import Template

from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from recipe_api.asgi import headers_of
from recipe_api.errors import TokenRequired, UnknownToken
from recipe_api.photos.kinds import SHOWN_BY_BROWSERS
from recipe_api.units import duration_in_words
from recipe_api.web.addresses import origin
from recipe_api.web.negotiation import prefers_html
from recipe_api.web.root_path import address, root_path, route_path
from recipe_api.web.schemas import CreatedRecipeOut, Problem

VARY = {"Vary": "Accept"}
"""Added to both representations of every response that also exists as HTML."""

_SCRIPT_NEEDED = "This service requires an API token, which a plain form cannot send. Turn on JavaScript and try again."
_ADVICE = {TokenRequired.code: _SCRIPT_NEEDED, UnknownToken.code: _SCRIPT_NEEDED}


def has_html_response(scope: Scope) -> bool:
    """Return whether the response to this request also exists as HTML, so that it depends on `Accept`."""
    return scope["method"] == "POST" and route_path(scope) == "/recipe"


def wants_html(scope: Scope) -> bool:
    """Return whether the response to this request should be HTML."""
    return has_html_response(scope) and prefers_html(headers_of(scope))


def created_page(scope: Scope, recipe: CreatedRecipeOut, *, headers: dict[str, str]) -> Response:
    """Return the page that shows a new recipe and its manage token."""
    location = escape(recipe["location"])
    page = _template("created").substitute(
        root=escape(root_path(scope)),
        label=escape(recipe["label"]),
        photo=_photo(recipe),
        name=escape(recipe["original_name"]),
        location=location,
        manage_token=escape(recipe["manage_token"]),
        recipe=escape(address(scope, f"/recipe/{recipe['id']}")),
    )
    return _page(page, 201, headers, images=" ".join(("data: 'self'", *_photo_origins(recipe))))


def _photo(recipe: CreatedRecipeOut) -> str:
    """Return the photo as HTML: itself if browsers show it, or else its largest rendition; empty if there is none."""
    sources = [rendition["location"] for rendition in recipe["renditions"]]
    if recipe["content_type"] in SHOWN_BY_BROWSERS:
        sources.append(recipe["location"])
    if not sources:
        return ""
    image = f'<img src="{escape(sources[-1])}" alt="{escape(recipe["label"])}">'
    return f'<p><a href="{escape(recipe["location"])}">{image}</a></p>'


def _photo_origins(recipe: CreatedRecipeOut) -> list[str]:
    addresses = [recipe["location"], *(rendition["location"] for rendition in recipe["renditions"])]
    return sorted({origin(each) for each in addresses if not each.startswith("/")})


def problem_page(scope: Scope, problem: Problem, *, headers: dict[str, str]) -> Response:
    """Return the page that shows why an upload failed, and what to do."""
    advice = _ADVICE.get(problem.type.rpartition("/")[2])
    if "Retry-After" in headers:
        advice = f"Wait {duration_in_words(int(headers['Retry-After']))}, go back, and try again."
    page = _template("problem").substitute(
        root=escape(root_path(scope)),
        title=escape(problem.title),
        detail=escape(problem.detail),
        advice=f"<p>{escape(advice)}</p>" if advice else "",
        type=escape(problem.type),
        request_id=escape(problem.request_id or ""),
    )
    return _page(page, problem.status, headers, images="data:")


@cache
def _template(name: str) -> Template:
    return Template((Path(__file__).parent / "templates" / f"{name}.html").read_text("utf-8"))


def _page(html: str, status: int, headers: dict[str, str], *, images: str) -> Response:
    policy = (
        f"default-src 'none'; style-src 'self'; img-src {images}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    own = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(html, status, {**headers, **VARY, **own})
