"""The sweep: finds what crashes left behind, in one pass over the bucket and the table.

Keys sort by time, so the bucket's listing and the table's index of keys are two streams in the same order. Merging them
shows every object without a row (an *orphan*) and every row without its object (*missing*), for any range of time and
in constant memory. Multipart uploads that nobody will complete (*dangling*) come from a separate listing, and
deletions that have not succeeded yet (*pending*) from a table.

Considerations: uploads continue during a sweep. Anything younger than the grace period is skipped. Each finding is
checked a second time before it is reported, and so is an object's row before the object is deleted. Keys that do not
have this service's format are never touched, nor are rows whose object belongs to another bucket. With the wrong bucket
or database, fixing would destroy everything. Therefore nothing is deleted until a row with its object has shown that
the bucket and the table belong together, and the sweep stops if most of what it sees is a finding.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from recipe_api.database.deletions import ObjectRef
from recipe_api.database.idempotency import IdempotencyKeys
from recipe_api.database.leases import Lease
from recipe_api.database.repository import Recipes
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, Listed
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.merge import outer_join

BATCH = 1000
"""Keys in one DeleteObjects call: the maximum that S3 accepts."""
CONCURRENT_CHECKS = 16
SUSPICIOUS = 10
"""Number of findings from which their proportion matters. It is low, to protect services with few recipes too."""


class FindingKind(StrEnum):
    """The ways in which bucket and table can disagree."""

    ORPHAN = "orphan"
    MISSING = "missing"
    DANGLING = "dangling"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement between bucket and table."""

    kind: FindingKind
    key: str
    size: int | None = None
    """Size of an orphan in bytes."""
    since: datetime | None = None
    """When the object was written, the multipart upload was started, or the deletion was requested."""
    fixed: bool = False
    other_bucket: bool = False
    """Whether the object of a pending deletion is, or may be, in another bucket."""


@dataclass(slots=True)
class Tally:
    """What a sweep has counted so far."""

    objects: int = 0
    rows: int = 0
    foreign: int = 0
    """Objects whose keys do not have this service's format."""
    pairs: int = 0
    """Objects that have a row."""
    other_bucket: int = 0
    """Rows whose object is not in this bucket, and belongs to another or an unknown one."""
    orphans: int = 0
    missing: int = 0
    dangling: int = 0
    pending: int = 0

    @property
    def found(self) -> int:
        """The number of findings."""
        return self.orphans + self.missing + self.dangling + self.pending


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The range in which uploads started: from `since`, inclusive, to `until`, exclusive. None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    def bounds(self, prefix: str) -> tuple[str, str | None]:
        """Return the exclusive lower and upper bounds of the keys in this range; the upper one may be None."""
        after = prefix if self.since is None else prefix + keys.lower_bound(self.since)
        if self.until is not None:
            return after, prefix + keys.lower_bound(self.until)
        return after, None


class DoubtfulSettings(Exception):
    """The findings suggest a wrong bucket or database, instead of that many faults."""


class TakenOver(Exception):
    """Another sweep has started, because this one was suspended for longer than its lease lasts."""


class Sweep:
    """One sweep. Its `tally` shows the progress.

    Args:
        inventory: Lists the bucket.
        recipes: The table of recipes.
        idempotency_keys: The table of idempotency keys; a sweep that fixes also deletes expired ones.
        lease: Renewed before each deletion, so that a sweep that was suspended does not run beside another.
        deletions: Retries pending deletions.
        prefix: The prefix of this service's keys.
        grace: The age from which objects and multipart uploads are considered.
    """

    def __init__(
        self,
        inventory: Inventory,
        recipes: Recipes,
        idempotency_keys: IdempotencyKeys,
        lease: Lease,
        deletions: Deletions,
        *,
        prefix: str,
        grace: timedelta,
    ) -> None:
        self._inventory = inventory
        self._recipes = recipes
        self._idempotency_keys = idempotency_keys
        self._lease = lease
        self._deletions = deletions
        self._bucket = deletions.bucket
        self._verified = False
        self._prefix = prefix
        self._cutoff = datetime.now(UTC) - grace
        self.tally = Tally()

    async def run(
        self, time_range: TimeRange, *, fix: bool, fix_missing: bool = False, force: bool = False
    ) -> AsyncIterator[Finding]:
        """Yield each finding as soon as it is confirmed.

        Args:
            time_range: Which uploads to consider. Pending deletions are always considered.
            fix: Delete orphans and the objects of pending deletions, and abort dangling uploads.
            fix_missing: With `fix`, also delete the rows whose object is missing.
            force: Continue even if most of what is seen is a finding, or no row has its object.

        Raises:
            DoubtfulSettings: The bucket and the table do not seem to belong together, and `force` is not set.
            TakenOver: Another sweep has taken over.
            StorageUnavailable, DatabaseUnavailable: The sweep cannot continue; what was fixed stays fixed.
        """
        async for finding in self._pending(fix=fix):
            yield finding
        async for finding in self._unmatched(time_range, fix=fix, fix_missing=fix_missing, force=force):
            yield finding
        async for finding in self._dangling(time_range, fix=fix):
            yield finding
        if fix:
            await self._idempotency_keys.delete_expired()

    async def _unmatched(
        self, time_range: TimeRange, *, fix: bool, fix_missing: bool, force: bool
    ) -> AsyncIterator[Finding]:
        """Yield orphans and missing objects, batch by batch."""
        orphans: list[Listed] = []
        missing: list[str] = []
        async for listed, key in self._candidates(time_range):
            if listed is not None:
                orphans.append(listed)
            elif key is not None:
                missing.append(key)
            if len(orphans) + len(missing) >= BATCH:
                async for finding in self._confirmed(orphans, missing, fix=fix, fix_missing=fix_missing, force=force):
                    yield finding
                orphans, missing = [], []
                if not force:
                    self._stop_if_doubtful()
        async for finding in self._confirmed(orphans, missing, fix=fix, fix_missing=fix_missing, force=force):
            yield finding

    async def _candidates(self, time_range: TimeRange) -> AsyncIterator[tuple[Listed | None, str | None]]:
        """Yield objects without a row and keys without an object, not confirmed yet."""
        after, until = time_range.bounds(self._prefix)
        objects = self._inventory.objects(prefix=self._prefix, after=after, until=until)
        rows = self._recipes.keys(after=after, until=until)
        async for listed, key in outer_join(objects, rows, key=lambda listed: listed.key):
            self.tally.objects += listed is not None
            self.tally.rows += key is not None
            self.tally.pairs += listed is not None and key is not None
            if keys.creation_time((listed.key if listed else key) or "", prefix=self._prefix) is None:
                self.tally.foreign += listed is not None
            elif key is None and listed is not None and listed.modified <= self._cutoff:
                yield listed, None
            elif listed is None:
                yield None, key

    async def _confirmed(
        self, orphans: Sequence[Listed], missing: Sequence[str], *, fix: bool, fix_missing: bool, force: bool
    ) -> AsyncIterator[Finding]:
        """Check the candidates again, fix those that are still findings, and yield them."""
        orphans = await self._unknown(orphans)
        missing = await self._gone(await self._in_this_bucket(missing))
        self.tally.orphans += len(orphans)
        self.tally.missing += len(missing)
        fix_missing = fix and fix_missing
        if (fix and orphans) or (fix_missing and missing):
            if not force:
                self._stop_if_doubtful()
                await self._stop_unless_verified(missing)
            await self._confirm_lease()
        if fix and orphans:
            await self._inventory.delete_all([listed.key for listed in orphans])
        if fix_missing and missing:
            await self._recipes.remove_keys(missing)
        for listed in orphans:
            yield Finding(kind=FindingKind.ORPHAN, key=listed.key, size=listed.size, since=listed.modified, fixed=fix)
        for key in missing:
            yield Finding(
                kind=FindingKind.MISSING, key=key, since=keys.creation_time(key, prefix=self._prefix), fixed=fix_missing
            )

    async def _unknown(self, orphans: Sequence[Listed]) -> list[Listed]:
        """Return the objects that have no row and no pending deletion, which is created when a row is deleted."""
        found = [listed.key for listed in orphans]
        known = await self._recipes.known_keys(found) | await self._deletions.pending.filter_pending(found)
        return [listed for listed in orphans if listed.key not in known]

    async def _in_this_bucket(self, missing: Sequence[str]) -> list[str]:
        """Return the keys that belong to this bucket, and count the others."""
        refs = await self._recipes.object_refs(missing)
        keys_here = {ref.key for ref in refs if self._bucket.contains(ref)}
        self.tally.other_bucket += len(refs) - len(keys_here)
        return [key for key in missing if key in keys_here]

    async def _gone(self, missing: Sequence[str]) -> list[str]:
        """Return the keys that have a row but no object.

        The order of the checks matters: deleting a recipe deletes the row first, and then the object.
        """
        gone: list[str] = []
        for start in range(0, len(missing), CONCURRENT_CHECKS):
            batch = missing[start : start + CONCURRENT_CHECKS]
            found = await asyncio.gather(*(self._inventory.exists(key) for key in batch))
            gone += [key for key, exists in zip(batch, found, strict=True) if not exists]
        known = await self._recipes.known_keys(gone)
        return [key for key in gone if key in known]

    async def _dangling(self, time_range: TimeRange, *, fix: bool) -> AsyncIterator[Finding]:
        after, until = time_range.bounds(self._prefix)
        async for upload in self._inventory.uploads(prefix=self._prefix):
            if upload.begun > self._cutoff or keys.creation_time(upload.key, prefix=self._prefix) is None:
                continue
            if upload.key <= after or (until is not None and upload.key >= until):
                continue
            self.tally.dangling += 1
            if fix:
                await self._confirm_lease()
                await self._inventory.abort(upload)
            yield Finding(kind=FindingKind.DANGLING, key=upload.key, since=upload.begun, fixed=fix)

    async def _pending(self, *, fix: bool) -> AsyncIterator[Finding]:
        last = ""
        while found := await self._deletions.pending.list_after(last, limit=CONCURRENT_CHECKS):
            last = found[-1].key
            refs = [ObjectRef(key=each.key, bucket=each.bucket, location=each.location) for each in found]
            gone: list[str] = []
            if fix:
                await self._confirm_lease()
                gone = await self._deletions.delete(refs)
            self.tally.pending += len(found)
            for each, ref in zip(found, refs, strict=True):
                yield Finding(
                    kind=FindingKind.PENDING,
                    key=each.key,
                    since=each.requested_at,
                    fixed=each.key in gone,
                    other_bucket=not self._bucket.contains(ref),
                )

    async def _confirm_lease(self) -> None:
        if not await self._lease.renew():
            raise TakenOver

    def _stop_if_doubtful(self) -> None:
        suspects = self.tally.orphans + self.tally.missing
        seen = max(self.tally.objects, self.tally.rows)
        if suspects >= SUSPICIOUS and suspects * 2 > seen:
            raise DoubtfulSettings(
                f"Of {self.tally.objects} objects and {self.tally.rows} rows seen so far, {self.tally.orphans} objects "
                f"have no row and {self.tally.missing} rows have no object. Do S3_BUCKET, S3_KEY_PREFIX and "
                "DATABASE_URL belong to the same service? If they do, use --force to continue."
            )

    async def _stop_unless_verified(self, missing: Sequence[str]) -> None:
        """Raise `DoubtfulSettings` unless a row has its object, in the time range or among the newest rows."""
        if not self._verified:
            self._verified = self.tally.pairs > 0 or await self._any_newest_exists(missing)
        if not self._verified:
            raise DoubtfulSettings(
                "No row was found whose object is in the bucket. Do S3_BUCKET, S3_KEY_PREFIX and DATABASE_URL belong "
                "to the same service? If they do, use --force to continue."
            )

    async def _any_newest_exists(self, missing: Sequence[str]) -> bool:
        newest = (await self._recipes.page(after=None, limit=CONCURRENT_CHECKS)).recipes
        others = [recipe.key for recipe in newest if recipe.key not in missing]
        return any(await asyncio.gather(*(self._inventory.exists(key) for key in others)))
