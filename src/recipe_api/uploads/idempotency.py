"""Makes one recipe for one `Idempotency-Key`, however often the upload is sent.

A request claims its key before it reads its form, renews the claim while it works, and finishes the key together with
inserting the row. If the key is already finished, the request reads its form only to verify that it is the same upload,
and gets the first response again. A request that fails releases its claim, so that the client can retry immediately.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import structlog

from recipe_api.database.idempotency import CLAIM_SECONDS, Claim, Done
from recipe_api.database.recipe_writer import Finishing
from recipe_api.errors import DatabaseUnavailable, IdempotencyKeyReused
from recipe_api.undo import Undo
from recipe_api.uploads.fingerprint import Fingerprint
from recipe_api.uploads.source import UploadSource

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UploadKey:
    """An `Idempotency-Key` and its scope."""

    scope: str
    """The name of the API token of the request; empty without one."""
    key: str


MIN_HEX_DIGITS = 32
MIN_BASE64_CHARACTERS = 22
"""Both encode 128 bits."""
_MIN_DISTINCT_HEX, _MIN_DISTINCT_BASE64 = 6, 12
"""A random key has fewer distinct characters less than once in 10^6; keys that people make up usually have fewer."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-(?P<version>[0-9a-f])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_RANDOM_UUIDS = frozenset("47")
"""UUID versions with enough random bits: 122 and 74 (RFC 9562 §5.4 and §5.7)."""
_HEX = re.compile(rf"[0-9a-f]{{{MIN_HEX_DIGITS},}}")
_BASE64 = re.compile(rf"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9_-]{{{MIN_BASE64_CHARACTERS},}}")


def is_unguessable(key: str) -> bool:
    """Return whether a key looks random enough to be a secret: a UUID of version 4 or 7, hexadecimal, or base64url.

    A client that sends the key of an upload again, with the same photo and label, gets its manage token. The photo and
    the label are public, so the key must be a secret unless something else identifies the client.
    """
    if found := _UUID.fullmatch(key.lower()):
        return found["version"] in _RANDOM_UUIDS
    distinct = len(set(key.lower()))
    if _HEX.fullmatch(key.lower()):
        return distinct >= _MIN_DISTINCT_HEX
    return bool(_BASE64.fullmatch(key)) and len(set(key)) >= _MIN_DISTINCT_BASE64


class Claims(Protocol):
    """Claims on idempotency keys or on staged uploads, each of which only one request at a time may hold.

    Every method may raise `DatabaseUnavailable`.
    """

    compares_uploads: bool
    """Whether a key may be reused for a different upload, which has a different fingerprint."""

    async def claim(self, scope: str, key: str) -> Claim | Done:
        """Claim a key, or return its result if it is finished.

        Raises:
            RequestRefused: Another request has claimed the key, or nobody can.
        """

    async def renew(self, claim: Claim) -> None:
        """Extend a claim by `CLAIM_SECONDS` from now."""

    async def release(self, claim: Claim) -> None:
        """Release a claim without finishing its key."""

    def finished(self, claim: Claim, fingerprint: bytes) -> Finishing:
        """Return what finishes the key, to be written together with the row."""


class Attempt:
    """A request that has claimed a key."""

    def __init__(self, claims: Claims, claim: Claim) -> None:
        self._claims = claims
        self._claim = claim
        self._fingerprint = Fingerprint() if claims.compares_uploads else None

    def update(self, data: memoryview) -> None:
        """Add a chunk of the photo to the fingerprint."""
        if self._fingerprint:
            self._fingerprint.update(data)

    def finished(self, label: str) -> Finishing:
        """Return what finishes the key, to be written together with the row."""
        fingerprint = self._fingerprint.digest(label) if self._fingerprint else b""
        return self._claims.finished(self._claim, fingerprint)


@asynccontextmanager
async def attempt(keys: Claims, key: UploadKey, *, undo: Undo) -> AsyncIterator[Attempt | Done]:
    """Claim `key` for as long as the block lasts. If it is already finished, yield its result instead.

    Raises:
        RequestRefused: Another request has claimed the key, or nobody can.
        DatabaseUnavailable: The key could not be claimed.
    """
    claim = await keys.claim(key.scope, key.key)
    if isinstance(claim, Done):
        yield claim
        return
    renewal = asyncio.create_task(_keep_renewing(keys, claim))
    try:
        yield Attempt(keys, claim)
    except BaseException:
        await undo.run(_release(keys, claim), what="releasing a claim")
        raise
    finally:
        renewal.cancel()


async def replay(source: UploadSource, done: Done) -> UUID:
    """Return the id of the first upload's recipe, if this is the same upload.

    Raises:
        IdempotencyKeyReused: This is another upload.
        RequestRefused: This upload is invalid.
    """
    if not await source.matches(done.fingerprint):
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another label or photo. Send a new key with each upload."
        )
    return done.recipe_id


async def _release(keys: Claims, claim: Claim) -> None:
    with suppress(DatabaseUnavailable):  # already logged; the claim expires by itself
        await keys.release(claim)


async def _keep_renewing(keys: Claims, claim: Claim) -> None:
    while True:
        await asyncio.sleep(CLAIM_SECONDS / 3)
        try:
            await keys.renew(claim)
        except DatabaseUnavailable:
            _log.warning("could not renew the claim on an upload; retrying")
