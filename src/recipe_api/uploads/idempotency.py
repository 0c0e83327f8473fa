"""One upload for one `Idempotency-Key`, however often it is sent.

A request claims its key before it reads its form, keeps the claim while it works, and finishes it together with the
row. A request whose key is finished reads its form only to see that it is the same one, and answers what the first one
answered. What fails gives its claim up, so that the client may try again at once.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from recipe_api.database.idempotency import CLAIM_SECONDS, Claim, Done, Finished, IdempotencyKeys
from recipe_api.database.models import Recipe
from recipe_api.errors import DatabaseUnavailable, KeyReused
from recipe_api.multipart import WireForm
from recipe_api.undo import Undo

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UploadKey:
    """An `Idempotency-Key` and whose it is."""

    scope: str
    """The name of the API token it came with; empty without one."""
    key: str


class Fingerprint:
    """What makes two uploads the same: their labels and their photos, whatever order they came in."""

    def __init__(self) -> None:
        self._photo = hashlib.sha256()

    def update(self, data: bytes | memoryview) -> None:
        """Takes some of the photo."""
        self._photo.update(data)

    def digest(self, label: str) -> bytes:
        """The fingerprint: 32 bytes."""
        return hashlib.sha256(self._photo.digest() + label.encode()).digest()


class Attempt:
    """One request's work on a claimed key."""

    def __init__(self, claim: Claim, *, kept_seconds: float) -> None:
        self._claim = claim
        self._kept_seconds = kept_seconds
        self.fingerprint = Fingerprint()

    def finished(self, label: str) -> Finished:
        """What is written with the row."""
        return Finished(self._claim, self.fingerprint.digest(label), self._kept_seconds)


@asynccontextmanager
async def attempt(keys: IdempotencyKeys, key: UploadKey, *, undo: Undo) -> AsyncIterator[Attempt | Done]:
    """An attempt at `key`, or what became of it before.

    Raises:
        KeyInUse: Another request works on it.
        DatabaseUnavailable: The database is away.
    """
    claim = await keys.claim(key.scope, key.key)
    if isinstance(claim, Done):
        yield claim
        return
    renewal = asyncio.create_task(_renewed(keys, claim))
    try:
        yield Attempt(claim, kept_seconds=keys.kept_seconds)
    except BaseException:
        await undo.run(keys.release(claim), what="releasing an idempotency key")
        raise
    finally:
        renewal.cancel()


async def replay(form: WireForm, done: Done) -> Recipe:
    """What came of the first upload, if this form is the same one.

    Raises:
        KeyReused: It is another.
        RequestRefused: It is no proper form.
    """
    fingerprint = Fingerprint()
    photo = await form.file("photo")
    while chunk := await photo.read_view():
        fingerprint.update(chunk)
    await form.finish()
    if fingerprint.digest(form.text("label")) != done.fingerprint:
        raise KeyReused("This Idempotency-Key was used for another label or photo; send a new key with a new upload.")
    return done.recipe


async def _renewed(keys: IdempotencyKeys, claim: Claim) -> None:
    while True:
        await asyncio.sleep(CLAIM_SECONDS / 3)
        try:
            await keys.renew(claim)
        except DatabaseUnavailable:
            _log.warning("could not renew the claim on an idempotency key; trying again")
