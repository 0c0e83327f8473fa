"""Deletes objects reliably: immediately if possible, and otherwise by retrying until they are gone.

A deletion is recorded as pending in PostgreSQL before it is acknowledged (`database.deletions`). Every process retries
the deletions that are due, including those that another process accepted. It queries them on start, in case a process
died; when one becomes due; and once an hour. In between it does not use the database, so that a serverless one can
sleep.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from recipe_api import background
from recipe_api.database.deletions import ObjectRef, PendingDeletions
from recipe_api.errors import DatabaseUnavailable, StorageUnavailable
from recipe_api.storage.keys import without_secret
from recipe_api.storage.protocol import Inventory, ObjectStore
from recipe_api.uploads.current_bucket import CurrentBucket

BATCH = 16
"""Objects that a process deletes concurrently. Each takes at most half a minute, which is less than the lease."""
IDLE_SECONDS = 3600
"""How often a process checks for deletions that others have left pending."""
PAUSE_SECONDS = 60
"""How long a process waits after a failure of the store or the database."""

_RANDOM = random.SystemRandom()
_log = structlog.get_logger(__name__)


class Deletions:
    """Deletes the objects of one bucket.

    Args:
        store: Deletes objects from the bucket.
        inventory: Looks objects up in the same bucket.
        pending: The table of pending deletions.
        bucket: Identifies the objects that belong to the bucket.
    """

    def __init__(
        self, store: ObjectStore, inventory: Inventory, pending: PendingDeletions, bucket: CurrentBucket
    ) -> None:
        self._store = store
        self._inventory = inventory
        self.bucket = bucket
        self._wake = asyncio.Event()
        self.pending = pending

    async def delete(self, refs: Sequence[ObjectRef]) -> list[str]:
        """Try to delete objects, and return the keys of those that are gone. The others stay pending.

        Raises:
            DatabaseUnavailable: The objects may be gone, but their deletions are still pending.
        """
        keys = await self.delete_for_now(refs)
        if keys:
            await self.pending.remove(keys)
        return keys

    async def delete_for_now(self, refs: Sequence[ObjectRef]) -> list[str]:
        """Try to delete objects, and return the keys of those that are gone.

        All deletions stay pending: clients may still write the objects, so they are deleted again when that ends.
        """
        keys: list[str] = []
        for start in range(0, len(refs), BATCH):
            batch = refs[start : start + BATCH]
            gone = await asyncio.gather(*(self._is_gone(ref) for ref in batch))
            keys += [ref.key for ref, is_gone in zip(batch, gone, strict=True) if is_gone]
        return keys

    async def delete_now(self, refs: Sequence[ObjectRef]) -> None:
        """Try to delete objects once. Failures are retried by `retrying`, in this or another process."""
        with suppress(DatabaseUnavailable):  # already logged
            if len(await self.delete(refs)) == len(refs):
                return
        keys = [without_secret(ref.key) for ref in refs]
        if other_buckets := {ref.bucket for ref in refs if self.bucket.contains(ref) is False}:
            _log.warning("deletion pending in another bucket", keys=keys, buckets=sorted(map(str, other_buckets)))
            return
        _log.warning("deletion pending; it will be retried", keys=keys)
        self.retry_soon()

    def retry_soon(self) -> None:
        """Make `retrying` check for pending deletions now."""
        self._wake.set()

    @asynccontextmanager
    async def retrying(self) -> AsyncIterator[None]:
        """Retry the deletions that are due, for as long as the block lasts."""
        async with background.running(self._retry(), name="pending deletions"):
            yield

    async def _retry(self) -> None:
        while True:
            self._wake.clear()
            seconds = await self.attempt_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds * _RANDOM.uniform(1, 1.2)):
                    await self._wake.wait()

    async def attempt_due(self) -> float:
        """Attempt all deletions that are due, and return the seconds to wait before the next check."""
        try:
            while refs := await self.pending.claim(limit=BATCH):
                gone = await self.delete(refs)
                _log.info("pending deletions attempted", deleted=len(gone), failed=len(refs) - len(gone))
                if len(gone) < len(refs):
                    return PAUSE_SECONDS
            seconds = await self.pending.seconds_to_next()
        except DatabaseUnavailable:  # already logged
            return PAUSE_SECONDS
        except Exception:  # noqa: BLE001 - a bug must not stop the retries for good
            _log.exception("unexpected error")
            return PAUSE_SECONDS
        return IDLE_SECONDS if seconds is None else min(max(seconds, 1), IDLE_SECONDS)

    async def _is_gone(self, ref: ObjectRef) -> bool:
        belongs = self.bucket.contains(ref)
        if belongs is False:
            return False
        try:
            # If the bucket is unknown, the absence of the object from this one proves nothing.
            if belongs is None and not await self._inventory.exists(ref.key):
                return False
            await self._store.delete(ref.key)
        except StorageUnavailable:  # already logged
            return False
        return True
