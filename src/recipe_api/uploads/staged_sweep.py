"""The part of the sweep for staged uploads: finds expired uploads and orphaned pieces.

The row of an upload is inserted before its first piece can be written. It is deleted when the last presigned URL has
expired, together with its pieces or after their deletion became pending. So a piece without a row is an orphan.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from recipe_api.database.staged_uploads import StagedUploads
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, Listed
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.findings import Finding, FindingKind, Tally
from recipe_api.uploads.pieces import piece_refs

BATCH = 1000
"""Keys in one DeleteObjects call: the maximum that S3 accepts."""
EXPIRED_BATCH = 16


class StagedSweep:
    """Finds expired staged uploads and orphaned pieces.

    Args:
        inventory: Lists the bucket.
        staged_uploads: The table of staged uploads.
        deletions: Deletes pieces.
        prefix: The prefix of the keys of pieces.
        cutoff: Pieces that were written later than this are skipped.
        tally: Counts the findings.
    """

    def __init__(
        self,
        inventory: Inventory,
        staged_uploads: StagedUploads,
        deletions: Deletions,
        *,
        prefix: str,
        cutoff: datetime,
        tally: Tally,
    ) -> None:
        self._inventory = inventory
        self._staged_uploads = staged_uploads
        self._deletions = deletions
        self._prefix = prefix
        self._cutoff = cutoff
        self._tally = tally

    async def run(self, *, fix: bool, confirm: Callable[[], Awaitable[None]]) -> AsyncIterator[Finding]:
        """Yield each finding as soon as it is confirmed.

        Args:
            fix: Delete expired uploads with their pieces, and orphaned pieces.
            confirm: Called before each deletion; raises an exception if the sweep must stop.
        """
        async for finding in self._expired(fix=fix, confirm=confirm):
            yield finding
        batch: list[Listed] = []
        async for listed in self._inventory.objects(prefix=self._prefix, after=self._prefix, until=None):
            if listed.modified <= self._cutoff and keys.piece_stem(listed.key, prefix=self._prefix) is not None:
                batch.append(listed)
            if len(batch) >= BATCH:
                async for finding in self._orphans(batch, fix=fix, confirm=confirm):
                    yield finding
                batch = []
        async for finding in self._orphans(batch, fix=fix, confirm=confirm):
            yield finding
        if fix:
            await self._staged_uploads.delete_ended()

    async def _expired(self, *, fix: bool, confirm: Callable[[], Awaitable[None]]) -> AsyncIterator[Finding]:
        pieces = partial(piece_refs, bucket=self._deletions.bucket)
        last = ""
        while found := await self._staged_uploads.list_expired(after=last, limit=EXPIRED_BATCH):
            last = found[-1].stem
            for upload in found:
                self._tally.expired += 1
                if fix:
                    await confirm()
                    refs = await self._staged_uploads.remove(upload.id, pieces_of=pieces)
                    await self._deletions.delete_now(refs)
                yield Finding(kind=FindingKind.EXPIRED, key=upload.stem, since=upload.created_at, fixed=fix)

    async def _orphans(
        self, pieces: Sequence[Listed], *, fix: bool, confirm: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[Finding]:
        orphans = await self._unknown(pieces)
        self._tally.orphans += len(orphans)
        self._tally.orphan_pieces += len(orphans)
        if fix and orphans:
            await confirm()
            await self._inventory.delete_all([listed.key for listed in orphans])
        for listed in orphans:
            yield Finding(kind=FindingKind.ORPHAN, key=listed.key, size=listed.size, since=listed.modified, fixed=fix)

    async def _unknown(self, pieces: Sequence[Listed]) -> list[Listed]:
        """Return the pieces that belong to no upload and have no pending deletion."""
        stems = {listed.key: keys.piece_stem(listed.key, prefix=self._prefix) or "" for listed in pieces}
        known = await self._staged_uploads.known_stems(sorted(set(stems.values())))
        pending = await self._deletions.pending.filter_pending(list(stems))
        return [listed for listed in pieces if stems[listed.key] not in known and listed.key not in pending]
