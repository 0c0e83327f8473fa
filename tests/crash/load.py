"""Clients that upload, by forms and by tus, look at renditions and delete continuously, and record the responses."""

import io
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any

import httpx
from PIL import Image

from recipe_api.units import KIB, MIB
from tests.crash.resumable import Lost, ResumableUpload
from tests.support.forms import CONTENT_TYPE, JPEG_HEADER, recipe_form
from tests.support.idempotency import key_of
from tests.support.service import bearer

_WAITING = 10
"""The maximum number of uploads with an idempotency key, or by tus, that one client keeps for later."""
PICTURE_SIDE = 200
"""The longest side of the photos that can be decoded, in pixels."""
_DECODABLE = 0.45
_EXPECTED = {200, 201, 204, 302, 404, 409, 423, 503}
"""404: a photo that was deleted while somebody looked at it. 423: the server still stores bytes of a lost request."""
_PAUSE_SECONDS = 0.05
"""The pause after a refused connection, while the server is starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The content of a 201 response, and the SHA-256 of the photo."""

    id: str
    key: str
    location: str
    renditions: list[str]
    """The links of its renditions, from the smallest to the largest."""
    manage_token: str
    digest: bytes


@dataclass(slots=True)
class Record:
    """The responses of all clients."""

    kept: dict[str, Promise] = field(default_factory=dict)
    """By id: uploads with a 201 response that were not deleted."""
    deleted: dict[str, Promise] = field(default_factory=dict)
    """Deletions with a 204 response."""
    perhaps_deleted: dict[str, Promise] = field(default_factory=dict)
    """Deletions whose response was lost."""
    labels_with_key: set[str] = field(default_factory=set)
    """Labels of uploads that were repeated with one idempotency key, or resumed by tus, until they got a response."""
    unfinished: list[ResumableUpload] = field(default_factory=list)
    """tus uploads that were incomplete when the clients were stopped."""
    resumed: int = 0
    """How often a tus upload resumed after an error or a lost response."""
    statuses: dict[str, int] = field(default_factory=dict)
    """How often each status occurred; `broken off` if the server was killed during the request."""
    faults: list[str] = field(default_factory=list)
    """Unexpected responses."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, status: str) -> None:
        """Count a status."""
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1


class Photos:
    """Distinct photos of many sizes. Half of the small ones can be decoded; the others only look like JPEGs."""

    def __init__(self, seed: int) -> None:
        self._pool = random.Random(seed).randbytes(16 * MIB).replace(b"\xff", b"\xfe")  # noqa: S311 - no secret
        self._numbers = count()
        self._lock = threading.Lock()

    def next(self, chance: random.Random) -> bytes:
        """Return a photo: nine in ten are small, one in thirty has several parts."""
        if chance.random() < _DECODABLE:
            return self._picture(chance)
        size = chance.choices(
            [chance.randint(1, 100) * KIB, chance.randint(512, 2048) * KIB, chance.randint(5 * MIB, 14 * MIB)],
            weights=[90, 7, 3],
        )[0]
        start = chance.randrange(len(self._pool) - size)
        with self._lock:
            number = next(self._numbers)
        return JPEG_HEADER + b"%08d" % number + self._pool[start : start + size]

    def _picture(self, chance: random.Random) -> bytes:
        """Return a JPEG of noise, which is stored as it is: it has no metadata."""
        width, height = chance.randint(16, PICTURE_SIDE), chance.randint(16, PICTURE_SIDE)
        start = chance.randrange(len(self._pool) - 3 * width * height)
        file = io.BytesIO()
        Image.frombytes("RGB", (width, height), self._pool[start : start + 3 * width * height]).save(file, "JPEG")
        return file.getvalue()


class Client:
    """A client that sends requests until it is stopped."""

    def __init__(self, url: str, *, record: Record, photos: Photos, seed: int, stop: threading.Event) -> None:
        self._url = url
        self._record = record
        self._photos = photos
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._seed = seed
        self._stop = stop
        self._unfinished: deque[tuple[str, bytes]] = deque()
        """Uploads with an idempotency key that must be sent again."""
        self._resumable: deque[ResumableUpload] = deque()
        """tus uploads to resume."""

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=40, trust_env=False) as client:
            for number in count():
                if self._stop.is_set():
                    break
                name = f"{self._seed}-{number}"
                what = self._chance.random()
                if what < 0.1:
                    self._delete(client)
                elif what < 0.13:
                    self._look(client)
                elif what < 0.25 and self._unfinished:
                    self._upload_with_key(client, *self._unfinished.popleft())
                elif what < 0.4 and len(self._unfinished) < _WAITING:
                    self._upload_with_key(client, name, self._photos.next(self._chance))
                elif what < 0.5 and self._resumable:
                    self._resume(self._resumable.popleft())
                elif what < 0.6 and len(self._resumable) < _WAITING:
                    self._begin_resumable(client, name)
                else:
                    self._upload(client, name, self._photos.next(self._chance), {})
        with self._record.lock:
            self._record.unfinished += self._resumable

    def _upload_with_key(self, client: httpx.Client, name: str, photo: bytes) -> None:
        """Send an upload, and repeat it later until it gets a response."""
        with self._record.lock:
            self._record.labels_with_key.add(name)
        if not self._upload(client, name, photo, {"Idempotency-Key": key_of(name)}):
            self._unfinished.append((name, photo))

    def _begin_resumable(self, client: httpx.Client, name: str) -> None:
        photo = self._photos.next(self._chance)
        upload = ResumableUpload(client, self._request, self._chance, photo, label=name)
        if upload.begin():
            with self._record.lock:
                self._record.labels_with_key.add(name)
            self._advance(upload)

    def _resume(self, upload: ResumableUpload) -> None:
        with self._record.lock:
            self._record.resumed += 1
        self._advance(upload)

    def _advance(self, upload: ResumableUpload) -> None:
        """Resume a tus upload, and keep it for later if it is still incomplete."""
        try:
            recipe = upload.advance()
        except Lost as loss:
            with self._record.lock:
                self._record.faults.append(str(loss))
            return
        if recipe is None:
            self._resumable.append(upload)
        else:
            self._keep(recipe, upload.photo)

    def _upload(self, client: httpx.Client, label: str, photo: bytes, headers: dict[str, str]) -> bool:
        body = recipe_form(photo, label=label)
        response = self._request(
            lambda: client.post("/recipe", content=body, headers={"Content-Type": CONTENT_TYPE, **headers})
        )
        if response is None or response.status_code != 201:
            return False
        self._keep(response.json(), photo)
        return True

    def _keep(self, recipe: dict[str, Any], photo: bytes) -> None:
        promise = Promise(
            id=recipe["id"],
            key=recipe["key"],
            location=recipe["location"],
            renditions=[each["location"] for each in recipe["renditions"]],
            manage_token=recipe["manage_token"],
            digest=sha256(photo).digest(),
        )
        with self._record.lock:
            self._record.kept[promise.id] = promise

    def _look(self, client: httpx.Client) -> None:
        """Request a rendition of the latest photo, which may be about to be made or deleted."""
        with self._record.lock:
            links = next((promise.renditions for promise in reversed(self._record.kept.values())), [])
        if links:
            self._request(lambda: client.get(links[0]))

    def _delete(self, client: httpx.Client) -> None:
        with self._record.lock:
            if not self._record.kept:
                return
            _, promise = self._record.kept.popitem()
            self._record.perhaps_deleted[promise.id] = promise
        response = self._request(lambda: client.delete(f"/recipe/{promise.id}", headers=bearer(promise.manage_token)))
        if response is not None and response.status_code == 204:
            with self._record.lock:
                self._record.deleted[promise.id] = self._record.perhaps_deleted.pop(promise.id)

    def _request(self, send: Callable[[], httpx.Response]) -> httpx.Response | None:
        """Send a request, and return its response or None if it was lost. While no server runs, wait for one."""
        while not self._stop.is_set():
            try:
                response = send()
            except httpx.ConnectError:
                time.sleep(_PAUSE_SECONDS)
            except httpx.TransportError:
                self._record.count("broken off")
                return None
            else:
                self._count(response)
                return response
        return None

    def _count(self, response: httpx.Response) -> None:
        self._record.count(str(response.status_code))
        if response.status_code not in _EXPECTED:
            with self._record.lock:
                self._record.faults.append(f"{response.status_code} {response.text[:200]}")


@contextmanager
def clients(url: str, number: int, *, record: Record, seed: int) -> Iterator[None]:
    """Run this number of clients until the block ends."""
    photos, stop = Photos(seed), threading.Event()
    threads = [
        threading.Thread(
            target=Client(url, record=record, photos=photos, seed=seed * 1000 + i, stop=stop).run, name=f"client-{i}"
        )
        for i in range(number)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
