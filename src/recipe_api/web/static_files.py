"""Serves the page's scripts and style sheets, without comments and compressed once.

Comments would be a sixth of what a visitor downloads. The files in `static/` contain them.
"""

import re
from functools import cache, lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recipe_api.web.compression import CompressedText

FOLDER = Path(__file__).parent / "static"
REVALIDATED = "no-cache"
"""For files of one release, whose modules may not work with those of another release."""

_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
_COMMENT = re.compile(r"^ *(?://.*|/\*(?:(?!\*/)[\s\S])*\*/ *)\n", re.MULTILINE)
"""A comment that takes up whole lines. After code, only a parser could distinguish a comment from a string."""
_INDENTATION = re.compile(r"^ +", re.MULTILINE)
_CACHED_FILES = 64


def static_file(name: str, request: Request) -> Response:
    """Return one of our own scripts or style sheets, compressed if the client accepts it.

    Raises:
        HTTPException: There is no such file.
    """
    if name not in _names():
        raise HTTPException(404)
    file = FOLDER / name
    return _compressed(file, file.stat().st_mtime_ns).response(request)


def without_comments(source: str) -> str:
    """Return a script or a style sheet without its comment lines and its indentation."""
    return _INDENTATION.sub("", _COMMENT.sub("", source))


@cache
def _names() -> frozenset[str]:
    return frozenset(file.name for file in FOLDER.iterdir() if file.suffix in _MEDIA_TYPES)


@lru_cache(_CACHED_FILES)
def _compressed(file: Path, _modified: int) -> CompressedText:
    return CompressedText(
        without_comments(file.read_text("utf-8")),
        media_type=_MEDIA_TYPES[file.suffix],
        headers={"Cache-Control": REVALIDATED},
    )
