"""The sweep: what a crash left behind, found in one pass over bucket and table.

Keys sort by time, so the bucket's listing and the table's index of keys are two streams in one order, and their merge
shows every object without a row (an *orphan*) and every row without its object (*missing*), over any window of time,
in constant memory. Multipart uploads that nobody will complete (*dangling*) have a listing of their own.

Considerations: uploads go on while it looks. What is younger than the grace period is passed over; what seems amiss is
looked at once more before it is reported, and an object's row before the object is deleted. A key that is not of our
form is never touched. And where most of what it sees is amiss, the sweep rather doubts its own settings: with the
wrong bucket or database, mending would destroy everything.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from recipe_api.database.idempotency import IdempotencyKeys
from recipe_api.database.repository import Recipes
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, Listed
from recipe_api.uploads.merge import outer_join

BATCH = 1000
"""What one DeleteObjects takes."""
LOOKS_AT_ONCE = 16
SUSPICIOUS = 10
"""From so many findings on, their share counts: a service of a dozen recipes has as much to lose as a large one."""


class Amiss(StrEnum):
    """What can be amiss."""

    ORPHAN = "orphan"
    MISSING = "missing"
    DANGLING = "dangling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing amiss."""

    amiss: Amiss
    key: str
    size: int | None = None
    """Bytes of an orphan."""
    since: datetime | None = None
    """When the object was written, or the multipart upload begun."""
    mended: bool = False


@dataclass(slots=True)
class Tally:
    """How far a sweep has come."""

    objects: int = 0
    rows: int = 0
    foreign: int = 0
    """Objects whose keys are not of our form."""
    orphans: int = 0
    missing: int = 0
    dangling: int = 0

    @property
    def found(self) -> int:
        """All that is amiss."""
        return self.orphans + self.missing + self.dangling


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when uploads began; None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    def bounds(self, prefix: str) -> tuple[str, str | None]:
        """The keys between which all keys of this window lie."""
        after = prefix if self.since is None else prefix + keys.lowest_of(self.since)
        if self.until is not None:
            return after, prefix + keys.lowest_of(self.until)
        return after, None


class DoubtfulSettings(Exception):
    """So much is amiss that the wrong bucket or database is likelier than so many faults."""


class Sweep:
    """One sweep; `tally` tells how far it has come.

    Args:
        inventory: The bucket.
        recipes: The table.
        idempotency_keys: Those that have expired are forgotten on the way, when mending.
        prefix: Under which our keys are.
        grace: What is younger is passed over.
    """

    def __init__(
        self,
        inventory: Inventory,
        recipes: Recipes,
        idempotency_keys: IdempotencyKeys,
        *,
        prefix: str,
        grace: timedelta,
    ) -> None:
        self._inventory = inventory
        self._recipes = recipes
        self._idempotency_keys = idempotency_keys
        self._prefix = prefix
        self._settled_before = datetime.now(UTC) - grace
        self.tally = Tally()

    async def run(self, window: Window, *, fix: bool, force: bool = False) -> AsyncIterator[Finding]:
        """What is amiss, as it is found.

        Args:
            window: Where to look.
            fix: Delete orphans and rows whose object is missing, abort dangling uploads.
            force: Mend although most of what is seen is amiss.

        Raises:
            DoubtfulSettings: Most of what is seen is amiss, and `force` was not given.
            StorageUnavailable, DatabaseUnavailable: The sweep cannot go on; what was mended stays so.
        """
        orphans: list[Listed] = []
        missing: list[str] = []
        async for listed, key in self._candidates(window):
            if listed is not None:
                orphans.append(listed)
            elif key is not None:
                missing.append(key)
            if len(orphans) + len(missing) >= BATCH:
                async for finding in self._settled(orphans, missing, fix=fix, force=force):
                    yield finding
                orphans, missing = [], []
        async for finding in self._settled(orphans, missing, fix=fix, force=force):
            yield finding
        async for finding in self._dangling(window, fix=fix):
            yield finding
        if fix:
            await self._idempotency_keys.forget_expired()

    async def _candidates(self, window: Window) -> AsyncIterator[tuple[Listed | None, str | None]]:
        """What has no partner at first sight."""
        after, until = window.bounds(self._prefix)
        objects = self._inventory.objects(prefix=self._prefix, after=after, until=until)
        rows = self._recipes.keys(after=after, until=until)
        async for listed, key in outer_join(objects, rows, key=lambda listed: listed.key):
            self.tally.objects += listed is not None
            self.tally.rows += key is not None
            if keys.time_of((listed.key if listed else key) or "", prefix=self._prefix) is None:
                self.tally.foreign += listed is not None
            elif key is None and listed is not None and listed.modified <= self._settled_before:
                yield listed, None
            elif listed is None:
                yield None, key

    async def _settled(
        self, orphans: Sequence[Listed], missing: Sequence[str], *, fix: bool, force: bool
    ) -> AsyncIterator[Finding]:
        """Looks at the candidates once more, and mends what is amiss indeed."""
        known = await self._recipes.known_keys([listed.key for listed in orphans])
        orphans = [listed for listed in orphans if listed.key not in known]
        missing = await self._gone(missing)
        self.tally.orphans += len(orphans)
        self.tally.missing += len(missing)
        if fix and not force:
            self._refuse_doubtful()
        if fix and orphans:
            await self._inventory.delete_all([listed.key for listed in orphans])
        if fix and missing:
            await self._recipes.remove_keys(missing)
        for listed in orphans:
            yield Finding(amiss=Amiss.ORPHAN, key=listed.key, size=listed.size, since=listed.modified, mended=fix)
        for key in missing:
            yield Finding(amiss=Amiss.MISSING, key=key, since=keys.time_of(key, prefix=self._prefix), mended=fix)

    async def _gone(self, missing: Sequence[str]) -> list[str]:
        """Those whose object is not there, and whose row still is.

        In this order: a recipe that is being deleted loses its row first.
        """
        gone: list[str] = []
        for start in range(0, len(missing), LOOKS_AT_ONCE):
            some = missing[start : start + LOOKS_AT_ONCE]
            there = await asyncio.gather(*(self._inventory.exists(key) for key in some))
            gone += [key for key, is_there in zip(some, there, strict=True) if not is_there]
        known = await self._recipes.known_keys(gone)
        return [key for key in gone if key in known]

    async def _dangling(self, window: Window, *, fix: bool) -> AsyncIterator[Finding]:
        after, until = window.bounds(self._prefix)
        async for upload in self._inventory.uploads(prefix=self._prefix):
            if upload.begun > self._settled_before or keys.time_of(upload.key, prefix=self._prefix) is None:
                continue
            if upload.key <= after or (until is not None and upload.key >= until):
                continue
            self.tally.dangling += 1
            if fix:
                await self._inventory.abort(upload)
            yield Finding(amiss=Amiss.DANGLING, key=upload.key, since=upload.begun, mended=fix)

    def _refuse_doubtful(self) -> None:
        amiss = self.tally.orphans + self.tally.missing
        seen = max(self.tally.objects, self.tally.rows)
        if amiss >= SUSPICIOUS and amiss * 2 > seen:
            raise DoubtfulSettings(
                f"Of {self.tally.objects} objects and {self.tally.rows} rows seen so far, {self.tally.orphans} objects "
                f"have no row and {self.tally.missing} rows no object. Are S3_BUCKET, S3_KEY_PREFIX and DATABASE_URL "
                "those of one service? If they are, --force mends all the same."
            )
