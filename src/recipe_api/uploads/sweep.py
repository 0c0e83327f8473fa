"""The sweep: finds what crashes left behind, in one pass over the bucket and the table.

Keys sort by time, so the bucket's listing and the table's index of keys are two streams in the same order. Merging them
shows every object without a row (an *orphan*) and every row without its object (*missing*), for any range of time and
in constant memory. A row stands for its photo and the renditions that it mentions, whose keys follow that of the photo;
a rendition that has no object is *lost*. Multipart uploads that nobody will complete (*dangling*) come from a separate
listing, and deletions that have not succeeded yet (*pending*) from a table.

Considerations: uploads continue during a sweep. Anything younger than the grace period is skipped. Each finding is
checked a second time before it is reported, and so is an object's row before the object is deleted. Keys that do not
have this service's format are never touched, nor are rows whose object belongs to another bucket. A rendition that its
photo's row does not mention is not a finding: it is being made, or its process has died, and the next attempt will
record it. With the wrong bucket or database, fixing would destroy everything. Therefore nothing is fixed until a row
with its photo has shown that the bucket and the table belong together, and the sweep stops if most of the photos that
it sees are findings. Renditions can be made again, so they prove nothing and raise no doubt.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial

from recipe_api.database.client_usage import ClientUsages
from recipe_api.database.deletions import ObjectRef
from recipe_api.database.idempotency import IdempotencyKeys
from recipe_api.database.leases import Lease
from recipe_api.database.repository import Recipes, StoredPhoto
from recipe_api.database.staged_uploads import StagedUploads
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, Listed
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.findings import Finding, FindingKind, Tally, Territory, TimeRange
from recipe_api.uploads.merge import outer_join
from recipe_api.uploads.rendition_policy import objects_of
from recipe_api.uploads.staged_sweep import StagedSweep

BATCH = 1000
"""Keys in one DeleteObjects call: the maximum that S3 accepts."""
CONCURRENT_CHECKS = 16
SUSPICIOUS = 10
"""Number of findings from which their proportion matters. It is low, to protect services with few recipes too."""


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
        staged_uploads: The table of staged uploads.
        client_usages: The table of usage. A sweep that fixes also deletes usage that has been restored.
        territory: The objects to consider.
    """

    def __init__(
        self,
        inventory: Inventory,
        recipes: Recipes,
        idempotency_keys: IdempotencyKeys,
        lease: Lease,
        deletions: Deletions,
        staged_uploads: StagedUploads,
        client_usages: ClientUsages,
        *,
        territory: Territory,
    ) -> None:
        self._inventory = inventory
        self._recipes = recipes
        self._idempotency_keys = idempotency_keys
        self._client_usages = client_usages
        self._lease = lease
        self._deletions = deletions
        self._bucket = deletions.bucket
        self._verified = False
        self._prefix = territory.prefix
        self._staging_prefix = territory.staging_prefix
        self._rendition_sizes = territory.rendition_sizes
        self._cutoff = datetime.now(UTC) - territory.grace
        self.tally = Tally()
        self._staged = StagedSweep(
            inventory,
            staged_uploads,
            deletions,
            prefix=territory.staging_prefix,
            cutoff=self._cutoff,
            tally=self.tally,
        )

    async def run(
        self, time_range: TimeRange, *, fix: bool, fix_missing: bool = False, force: bool = False
    ) -> AsyncIterator[Finding]:
        """Yield each finding as soon as it is confirmed.

        Args:
            time_range: Which uploads to consider. Pending deletions and staged uploads are always considered.
            fix: Delete orphans, expired staged uploads and the objects of pending deletions, abort dangling uploads,
                and remove lost renditions from their rows, so that they are made again.
            fix_missing: With `fix`, also delete the rows whose photo is missing, and their renditions.
            force: Continue even if most of the photos are findings, or no row has its photo.

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
        async for finding in self._staged.run(fix=fix, confirm=partial(self._confirm_staged, force=force)):
            yield finding
        if fix:
            await self._idempotency_keys.delete_expired()
            await self._client_usages.delete_restored()

    async def _unmatched(
        self, time_range: TimeRange, *, fix: bool, fix_missing: bool, force: bool
    ) -> AsyncIterator[Finding]:
        """Yield orphans, and photos and renditions without an object, batch by batch."""
        orphans: list[Listed] = []
        absent: list[str] = []
        async for listed, key in self._candidates(time_range):
            if listed is not None:
                orphans.append(listed)
            elif key is not None:
                absent.append(key)
            if len(orphans) + len(absent) >= BATCH:
                async for finding in self._confirmed(orphans, absent, fix=fix, fix_missing=fix_missing, force=force):
                    yield finding
                orphans, absent = [], []
                if not force:
                    self._stop_if_doubtful()
        async for finding in self._confirmed(orphans, absent, fix=fix, fix_missing=fix_missing, force=force):
            yield finding

    async def _candidates(self, time_range: TimeRange) -> AsyncIterator[tuple[Listed | None, str | None]]:
        """Yield objects without a row and keys without an object, not confirmed yet."""
        after, until = time_range.bounds(self._prefix)
        objects = self._inventory.objects(prefix=self._prefix, after=after, until=until)
        recorded = _keys(self._recipes.stored_photos(after=after, until=until))
        stem_of_row, has_photo = "", False
        async for listed, key in outer_join(objects, recorded, key=lambda listed: listed.key):
            if listed is not None and listed.key.startswith(self._staging_prefix):
                continue  # a piece of a staged upload, which no row of this table mentions
            either = listed.key if listed is not None else key or ""
            is_rendition = keys.rendition_size(either) is not None
            if key is not None and not is_rendition:
                stem_of_row, has_photo = keys.stem(key), listed is not None
            is_of_row = is_rendition and keys.stem(either) == stem_of_row
            self._count(listed, key, is_rendition=is_rendition)
            if keys.creation_time(either, prefix=self._prefix) is None:
                self.tally.foreign += listed is not None
            elif listed is None:
                if has_photo or not is_rendition:  # if the photo is missing, its renditions are not reported as lost
                    yield None, key
            elif key is None and not is_of_row and listed.modified <= self._cutoff:
                yield listed, None

    def _count(self, listed: Listed | None, key: str | None, *, is_rendition: bool) -> None:
        self.tally.objects += listed is not None
        self.tally.renditions += listed is not None and is_rendition
        self.tally.rows += key is not None and not is_rendition
        self.tally.pairs += listed is not None and key is not None and not is_rendition

    async def _confirmed(
        self, orphans: Sequence[Listed], absent: Sequence[str], *, fix: bool, fix_missing: bool, force: bool
    ) -> AsyncIterator[Finding]:
        """Check the candidates again, fix those that are still findings, and yield them."""
        orphans = await self._unknown(orphans)
        absent = await self._gone(await self._in_this_bucket(absent))
        lost = [key for key in absent if keys.rendition_size(key) is not None]
        missing = [key for key in absent if keys.rendition_size(key) is None]
        self.tally.orphans += len(orphans)
        self.tally.orphan_renditions += sum(keys.rendition_size(listed.key) is not None for listed in orphans)
        self.tally.missing += len(missing)
        self.tally.lost += len(lost)
        fix_missing = fix and fix_missing
        if fix and (orphans or lost or (fix_missing and missing)):
            if not force:
                self._stop_if_doubtful()
                await self._stop_unless_verified(missing)
            await self._confirm_lease()
            await self._fix(orphans, missing=missing if fix_missing else [], lost=lost)
        for listed in orphans:
            yield Finding(kind=FindingKind.ORPHAN, key=listed.key, size=listed.size, since=listed.modified, fixed=fix)
        for kind, found, fixed in ((FindingKind.MISSING, missing, fix_missing), (FindingKind.LOST, lost, fix)):
            for key in found:
                since = keys.creation_time(key, prefix=self._prefix)
                yield Finding(kind=kind, key=key, since=since, fixed=fixed)

    async def _fix(self, orphans: Sequence[Listed], *, missing: Sequence[str], lost: Sequence[str]) -> None:
        if orphans:
            await self._inventory.delete_all([listed.key for listed in orphans])
        if lost:
            await self._recipes.forget_renditions((keys.stem(key), keys.rendition_size(key) or 0) for key in lost)
        for start in range(0, len(missing), CONCURRENT_CHECKS):
            await self._remove(missing[start : start + CONCURRENT_CHECKS])

    async def _remove(self, missing: Sequence[str]) -> None:
        """Delete rows and their renditions, as the deletion of a recipe does."""
        refs = await self._recipes.remove_keys(missing, objects_of=partial(objects_of, sizes=self._rendition_sizes))
        await self._deletions.delete_now(refs)

    async def _unknown(self, orphans: Sequence[Listed]) -> list[Listed]:
        """Return the objects that have no row and no pending deletion, which is created when a row is deleted."""
        found = [listed.key for listed in orphans]
        photos = await self._photos(found)
        stems = {keys.stem(photo.ref.key) for photo in photos}
        known = {photo.ref.key for photo in photos} | await self._deletions.pending.filter_pending(found)
        known |= {key for key in found if keys.rendition_size(key) is not None and keys.stem(key) in stems}
        return [listed for listed in orphans if listed.key not in known]

    async def _in_this_bucket(self, absent: Sequence[str]) -> list[str]:
        """Return the keys that belong to this bucket, and count the photos that do not."""
        photos = await self._photos(absent)
        here = {key for photo in photos if self._bucket.contains(photo.ref) for key in _keys_of(photo)}
        elsewhere = {photo.ref.key for photo in photos} - here
        self.tally.other_bucket += len(elsewhere.intersection(absent))
        return [key for key in absent if key in here]

    async def _gone(self, absent: Sequence[str]) -> list[str]:
        """Return the keys that are in a row and have no object.

        The order of the checks matters: deleting a recipe deletes the row first, and then the objects.
        """
        gone: list[str] = []
        for start in range(0, len(absent), CONCURRENT_CHECKS):
            batch = absent[start : start + CONCURRENT_CHECKS]
            found = await asyncio.gather(*(self._inventory.exists(key) for key in batch))
            gone += [key for key, exists in zip(batch, found, strict=True) if not exists]
        known = {key for photo in await self._photos(gone) for key in _keys_of(photo)}
        return [key for key in gone if key in known]

    async def _photos(self, objects: Sequence[str]) -> list[StoredPhoto]:
        """Return the rows of the photos to which these objects belong."""
        return await self._recipes.with_stems({keys.stem(key) for key in objects})

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

    async def _confirm_staged(self, *, force: bool) -> None:
        if not force:
            await self._stop_unless_verified([])
        await self._confirm_lease()

    async def _confirm_lease(self) -> None:
        if not await self._lease.renew():
            raise TakenOver

    def _stop_if_doubtful(self) -> None:
        """Raise `DoubtfulSettings` if most of the photos so far are findings. Renditions do not count."""
        objects = self.tally.objects - self.tally.renditions
        orphans = self.tally.orphans - self.tally.orphan_renditions - self.tally.orphan_pieces
        suspects = orphans + self.tally.missing
        if suspects >= SUSPICIOUS and suspects * 2 > max(objects, self.tally.rows):
            raise DoubtfulSettings(
                f"Of {objects} objects and {self.tally.rows} rows seen so far, not counting renditions, {orphans} "
                f"objects have no row and {self.tally.missing} rows have no object. Do S3_BUCKET, S3_KEY_PREFIX and "
                "DATABASE_URL belong to the same service? If they do, use --force to continue."
            )

    async def _stop_unless_verified(self, missing: Sequence[str]) -> None:
        """Raise `DoubtfulSettings` unless a row has its object, in the time range or among the newest rows."""
        if not self._verified:
            self._verified = self.tally.pairs > 0 or await self._any_newest_exists(missing)
        if not self._verified:
            raise DoubtfulSettings(
                "No row was found whose photo is in the bucket. Do S3_BUCKET, S3_KEY_PREFIX and DATABASE_URL belong "
                "to the same service? If they do, use --force to continue."
            )

    async def _any_newest_exists(self, missing: Sequence[str]) -> bool:
        newest = (await self._recipes.page(after=None, limit=CONCURRENT_CHECKS)).recipes
        others = [recipe.key for recipe in newest if recipe.key not in missing]
        return any(await asyncio.gather(*(self._inventory.exists(key) for key in others)))


async def _keys(photos: AsyncIterable[StoredPhoto]) -> AsyncIterator[str]:
    """Yield the keys of photos and of the renditions that their rows mention, in byte order."""
    async for photo in photos:
        for key in _keys_of(photo):
            yield key


def _keys_of(photo: StoredPhoto) -> list[str]:
    """Return the key of a photo, and those of the renditions that its row mentions, in byte order."""
    return [photo.ref.key, *sorted(keys.rendition_key(photo.ref.key, size) for size in photo.rendition_sizes)]
