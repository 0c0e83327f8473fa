"""Clients that upload and delete without end, and keep a record of what they were promised."""

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

from recipe_api.units import KIB, MIB
from tests.support.forms import CONTENT_TYPE, JPEG_HEADER, recipe_form
from tests.support.idempotency import key_of
from tests.support.service import bearer

_WAITING = 10
"""Uploads with an idempotency key of one client that wait to be sent again; at more, it begins no new ones."""
_PAUSE_SECONDS = 0.05
"""After a refused connection; the server is starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a 201 said, and the SHA-256 of what was sent."""

    id: str
    key: str
    location: str
    manage_token: str
    digest: bytes


@dataclass(slots=True)
class Record:
    """What all clients were told."""

    kept: dict[str, Promise] = field(default_factory=dict)
    """By id: answered 201, and not deleted."""
    deleted: dict[str, Promise] = field(default_factory=dict)
    """Answered 204."""
    perhaps_deleted: dict[str, Promise] = field(default_factory=dict)
    """A delete whose answer was lost."""
    labels_with_key: set[str] = field(default_factory=set)
    """Uploads that were sent until they were answered, each under one idempotency key and one label."""
    statuses: dict[str, int] = field(default_factory=dict)
    """How often each answer came; `broken off` where a request was under way when the server was killed."""
    faults: list[str] = field(default_factory=list)
    """What should not have been answered."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, answer: str) -> None:
        """Counts an answer."""
        with self.lock:
            self.statuses[answer] = self.statuses.get(answer, 0) + 1


class Photos:
    """Photos of many sizes, none twice: a number of their own, then a slice of one random pool."""

    def __init__(self, seed: int) -> None:
        self._pool = random.Random(seed).randbytes(16 * MIB).replace(b"\xff", b"\xfe")  # noqa: S311 - no secret
        self._numbers = count()
        self._lock = threading.Lock()

    def next(self, chance: random.Random) -> bytes:
        """Nine in ten are small; one in thirty has several parts."""
        size = chance.choices(
            [chance.randint(1, 100) * KIB, chance.randint(512, 2048) * KIB, chance.randint(5 * MIB, 14 * MIB)],
            weights=[90, 7, 3],
        )[0]
        start = chance.randrange(len(self._pool) - size)
        with self._lock:
            number = next(self._numbers)
        return JPEG_HEADER + b"%08d" % number + self._pool[start : start + size]


class Client:
    """One of the clients; it goes on until it is told to stop."""

    def __init__(self, url: str, *, record: Record, photos: Photos, seed: int, stop: threading.Event) -> None:
        self._url = url
        self._record = record
        self._photos = photos
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._seed = seed
        self._stop = stop
        self._unanswered: deque[tuple[str, bytes]] = deque()
        """Uploads under an idempotency key that are to be sent again."""

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=40, trust_env=False) as client:
            for number in count():
                if self._stop.is_set():
                    return
                name = f"{self._seed}-{number}"
                what = self._chance.random()
                if what < 0.1:
                    self._delete(client)
                elif what < 0.25 and self._unanswered:
                    self._upload_with_key(client, *self._unanswered.popleft())
                elif what < 0.4 and len(self._unanswered) < _WAITING:
                    self._upload_with_key(client, name, self._photos.next(self._chance))
                else:
                    self._upload(client, name, self._photos.next(self._chance), {})

    def _upload_with_key(self, client: httpx.Client, name: str, photo: bytes) -> None:
        """Sends it, in the end, until it is answered, as clients do that have a key for it."""
        with self._record.lock:
            self._record.labels_with_key.add(name)
        if not self._upload(client, name, photo, {"Idempotency-Key": key_of(name)}):
            self._unanswered.append((name, photo))

    def _upload(self, client: httpx.Client, label: str, photo: bytes, headers: dict[str, str]) -> bool:
        body = recipe_form(photo, label=label)
        answer = self._asked(
            lambda: client.post("/recipe", content=body, headers={"Content-Type": CONTENT_TYPE, **headers})
        )
        if answer is None or answer.status_code != 201:
            return False
        recipe: dict[str, Any] = answer.json()
        promise = Promise(
            id=recipe["id"],
            key=recipe["key"],
            location=recipe["location"],
            manage_token=recipe["manage_token"],
            digest=sha256(photo).digest(),
        )
        with self._record.lock:
            self._record.kept[promise.id] = promise
        return True

    def _delete(self, client: httpx.Client) -> None:
        with self._record.lock:
            if not self._record.kept:
                return
            _, promise = self._record.kept.popitem()
            self._record.perhaps_deleted[promise.id] = promise
        answer = self._asked(lambda: client.delete(f"/recipe/{promise.id}", headers=bearer(promise.manage_token)))
        if answer is not None and answer.status_code == 204:
            with self._record.lock:
                self._record.deleted[promise.id] = self._record.perhaps_deleted.pop(promise.id)

    def _asked(self, ask: Callable[[], httpx.Response]) -> httpx.Response | None:
        """The answer; None where there was none. While no server runs, it waits for one."""
        while not self._stop.is_set():
            try:
                answer = ask()
            except httpx.ConnectError:
                time.sleep(_PAUSE_SECONDS)
            except httpx.TransportError:
                self._record.count("broken off")
                return None
            else:
                self._take_note(answer)
                return answer
        return None

    def _take_note(self, answer: httpx.Response) -> None:
        self._record.count(str(answer.status_code))
        if answer.status_code not in {201, 204, 409, 503}:
            with self._record.lock:
                self._record.faults.append(f"{answer.status_code} {answer.text[:200]}")


@contextmanager
def clients(url: str, number: int, *, record: Record, seed: int) -> Iterator[None]:
    """So many clients at work, until the block ends."""
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
