"""Clients that use all parts of the service at the same time: uploads by form and tus, lists, the page, renditions.

Every client has one connection, and pauses between its requests. A response with `Retry-After` is a wait, not a
failure: the client tries again after that time. The responses to failed requests are recorded.
"""

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from jpeg import photo as noise_photo

from compare.photos import CONTENT_TYPE, FORM_HEAD, FORM_TAIL, MIB, photo

SMALL_BYTES = 50_000
MEDIUM_BYTES = 5_000_000
LARGE_BYTES = 60 * MIB
_CHUNK = MIB // 4
_TUS_CHUNK = MIB
_TUS = {"Tus-Resumable": "1.0.0"}
_WAITS = {423, 429, 503}
"""Statuses that may ask a client to try again later."""
_TIMEOUT = aiohttp.ClientTimeout(total=120)
_KNOWN = 50
"""How many of the latest photos have their renditions viewed."""


@dataclass(slots=True)
class Outcome:
    """The outcome of all requests."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    """The duration of each successful request, without waits, by kind of request."""
    waits: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: dict[str, str]
    document: Any


class Failed(Exception):
    """A request failed. The failure has been recorded."""


class Clients:
    """All clients of one service.

    Args:
        url: Its address.
        session: Sends the requests.
        seconds: How long they run.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, *, seconds: float) -> None:
        self.outcome = Outcome()
        self._url = url
        self._session = session
        self._end = time.monotonic() + seconds
        self._recipes: list[dict[str, Any]] = []
        """The latest recipes that have renditions."""

    async def run(self) -> None:
        """Run all clients until the time is over."""
        small, medium, large = photo(SMALL_BYTES), photo(MEDIUM_BYTES), noise_photo(LARGE_BYTES)
        clients = (
            *[self._again(lambda: self._upload("small", small), pause=0.05) for _ in range(4)],
            *[self._again(lambda: self._upload("medium", medium), pause=0.5) for _ in range(2)],
            self._again(lambda: self._upload("large", large), pause=2),
            *[self._again(lambda: self._tus(medium), pause=0.5) for _ in range(2)],
            *[self._again(self._list, pause=0.1) for _ in range(2)],
            self._again(self._page, pause=0.1),
            *[self._again(self._rendition, pause=0.1) for _ in range(2)],
        )
        await asyncio.gather(*clients)

    async def _again(self, work: Callable[[], Awaitable[None]], *, pause: float) -> None:
        while time.monotonic() < self._end:
            with suppress(Failed):  # the next one may succeed
                await work()
            await asyncio.sleep(pause)

    async def _upload(self, kind: str, content: bytes) -> None:
        form = FORM_HEAD + content + FORM_TAIL
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(form))}
        response = await self._request(kind, "POST", "/recipe", headers=headers, body=form, wanted=201)
        if kind == "medium":
            self._recipes = [*self._recipes[1 - _KNOWN :], response.document]

    async def _tus(self, content: bytes) -> None:
        named = {"filename": "pancakes.jpg", "label": "Pancakes"}
        metadata = ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in named.items())
        headers = _TUS | {"Upload-Length": str(len(content)), "Upload-Metadata": metadata}
        created = await self._request("tus_create", "POST", "/uploads", headers=headers, wanted=201)
        path = created.headers["Location"].removeprefix(self._url)
        offset = 0
        while offset < len(content):
            piece = content[offset : offset + _TUS_CHUNK]
            headers = _TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            await self._request("tus_append", "PATCH", path, headers=headers, body=piece, wanted=204)
            offset += len(piece)

    async def _list(self) -> None:
        following = "/recipe"
        while following and time.monotonic() < self._end:
            response = await self._request("list", "GET", following, wanted=200)
            following = (response.document["next"] or "").removeprefix(self._url)

    async def _page(self) -> None:
        await self._request("page", "GET", "/", wanted=200)

    async def _rendition(self) -> None:
        if self._recipes:
            rendition = random.choice(random.choice(self._recipes)["renditions"])  # noqa: S311 - no secret
            await self._request("rendition", "GET", rendition["location"].removeprefix(self._url), wanted=200)

    async def _request(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        wanted: int,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> _Response:
        """Send a request, and repeat it as long as the response asks to try again later.

        Raises:
            Failed: The response does not have the expected status.
        """
        while True:
            began = time.perf_counter()
            try:
                response = await self._sent(method, path, headers or {}, body)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise self._failure(f"{kind}: {error!r}") from error
            if response.status == wanted:
                self.outcome.seconds.setdefault(kind, []).append(time.perf_counter() - began)
                return response
            wait = float(response.headers.get("Retry-After", 0))
            if response.status not in _WAITS or not wait:
                raise self._failure(f"{kind}: {response.status} {response.document}")
            self.outcome.waits += 1
            await asyncio.sleep(wait)

    async def _sent(self, method: str, path: str, headers: dict[str, str], body: bytes) -> _Response:
        data = _chunks(body) if body else None
        length = {"Content-Length": str(len(body))} if body else {}
        url = path if path.startswith("http") else self._url + path
        async with self._session.request(method, url, headers=headers | length, data=data) as response:
            content = await response.read()
            document = await response.json(content_type=None) if "json" in response.content_type else len(content)
            return _Response(response.status, dict(response.headers), document)

    def _failure(self, words: str) -> Failed:
        self.outcome.failed.append(words)
        return Failed(words)


async def mixed(url: str, *, seconds: float) -> Outcome:
    """Run all clients against the service at this address."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
        clients = Clients(url, session, seconds=seconds)
        await clients.run()
        return clients.outcome


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _CHUNK):
        yield body[start : start + _CHUNK]
