"""Gzip: once for each of the service's own pages and files, and per request for lists of recipes.

Nothing that is compressed here contains a secret: a manage token appears only in the response to an upload, which is
never compressed, so the length of a compressed body reveals nothing (BREACH).

Each representation has its own strong ETag, and every response that could have been compressed says
`Vary: Accept-Encoding` (RFC 9110 §8.8.3.3). A request for a range gets a range of the uncompressed file.
"""

import asyncio
import gzip
import hashlib
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from recipe_api.asgi import headers_of
from recipe_api.units import KIB
from recipe_api.web.negotiation import accepts_gzip

MIN_BYTES = 1000
"""A shorter response fits into one packet anyway."""
THREAD_BYTES = 64 * KIB
"""A longer body is compressed in a thread: on the event loop it would delay uploads by more than a millisecond."""

_LEVEL = 6
"""Level 9 takes two to three times the CPU to save less than 1 % of a list or a script."""
_CACHED_FILES = 64
_POLICY = "Content-Security-Policy"


class CompressedText:
    """A text that does not change while the process runs, compressed once."""

    def __init__(self, text: str, *, media_type: str, headers: dict[str, str]) -> None:
        body = text.encode("utf-8")
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        plain = Response(body, headers={**headers, "ETag": etag, "Vary": "Accept-Encoding"}, media_type=media_type)
        compressed = _gzipped(body)
        self._plain = body, plain.headers
        self._gzipped = compressed, _of_gzip(compressed, plain.headers)

    def response(self, request: Request) -> Response:
        """Return the text in the representation that the client prefers."""
        body, headers = self._gzipped if accepts_gzip(headers_of(request.scope)) else self._plain
        return _conditional(body, headers, request.headers)


class CompressedFiles(StaticFiles):
    """A directory of static files, each of which is compressed when it is first requested."""

    def __init__(self, directory: Path, *, cache_control: str) -> None:
        super().__init__(directory=directory)
        self._cache_control = cache_control

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file.

        Raises:
            HTTPException: There is no such file, or the method is neither GET nor HEAD.
        """
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = self._cache_control
        response.headers.add_vary_header("Accept-Encoding")
        request_headers = Headers(scope=scope)
        if not _is_whole_text(response, request_headers) or not accepts_gzip(headers_of(scope)):
            return response
        assert isinstance(response, FileResponse)  # noqa: S101 - it is a text
        file = Path(response.path)
        modified = (await asyncio.to_thread(file.stat)).st_mtime_ns
        body = await asyncio.to_thread(_gzipped_file, file, modified)
        return _conditional(body, _of_gzip(body, response.headers), request_headers)


async def json_response(body: bytes, scope: Scope) -> Response:
    """Return JSON as the response to a request, compressed if the client accepts it."""
    headers = {"Vary": "Accept-Encoding"}
    if len(body) >= MIN_BYTES and accepts_gzip(headers_of(scope)):
        body = await asyncio.to_thread(_gzipped, body) if len(body) > THREAD_BYTES else _gzipped(body)
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type="application/json")


def _is_whole_text(response: Response, request_headers: Headers) -> bool:
    """Return whether this is a whole file of a type that compresses well."""
    media_type = response.headers.get("Content-Type", "")
    is_text = media_type.startswith("text/") or media_type.partition(";")[0] in {"application/json", "image/svg+xml"}
    return isinstance(response, FileResponse) and is_text and "range" not in request_headers


def _of_gzip(compressed: bytes, plain: Headers) -> MutableHeaders:
    """Return the headers of a compressed body, given those of the uncompressed one."""
    headers = MutableHeaders(raw=list(plain.raw))
    del headers["Accept-Ranges"]
    headers["Content-Length"] = str(len(compressed))
    headers["Content-Encoding"] = "gzip"
    headers["ETag"] = f'{plain["ETag"][:-1]}-gzip"'
    return headers


def _conditional(body: bytes, headers: Headers, request_headers: Headers) -> Response:
    """Return the body, or 304 if the client already has it (RFC 9110 §13.1.2)."""
    known = request_headers.get("If-None-Match", "").split(",")
    if headers["ETag"] in [tag.strip().removeprefix("W/") for tag in known]:
        return _not_modified(headers)
    response = Response(body)
    response.raw_headers = list(headers.raw)
    return response


def _not_modified(headers: Headers) -> Response:
    response = NotModifiedResponse(headers)
    if policy := headers.get(_POLICY):
        response.headers[_POLICY] = policy  # a cache adopts the headers of a 304, and the default policy forbids all
    return response


@lru_cache(_CACHED_FILES)
def _gzipped_file(path: Path, _modified: int) -> bytes:
    """Compress a file, once for each of its versions."""
    return _gzipped(path.read_bytes())


def _gzipped(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)  # the same bytes in every process
