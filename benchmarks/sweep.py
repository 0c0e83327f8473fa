"""How long a sweep takes, and how much memory, by the number of recipes. Each has a photo and three renditions.

    python benchmarks/sweep.py [100000 1000000]

The table is real, in a separate PostgreSQL. The bucket is simulated in the same process: keys in order, some missing,
some extra. So the figures are what the service adds to a listing, which takes about 0.1 s per 1,000 objects on S3. A
separate process sweeps each size, and reports its peak memory.
"""

import argparse
import asyncio
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from recipe_api.database.deletions import PendingDeletions
from recipe_api.database.idempotency import IdempotencyKeys
from recipe_api.database.leases import Lease
from recipe_api.database.repository import Recipes
from recipe_api.database.session import open_engine
from recipe_api.database.staged_uploads import StagedUploads, StagingLimits
from recipe_api.dev.migrations import migrate
from recipe_api.dev.postgres import postgres
from recipe_api.settings import DEFAULT_RENDITIONS, DatabaseSettings
from recipe_api.storage.keys import rendition_key
from recipe_api.storage.protocol import Listed, ListedUpload
from recipe_api.uploads.current_bucket import CurrentBucket
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.findings import Territory, TimeRange
from recipe_api.uploads.sweep import Sweep

BEGINNING = 1_790_000_000_000  # milliseconds since the epoch
WRITTEN = datetime(2026, 9, 21, tzinfo=UTC)
ORPHAN_EVERY = 10_000
MISSING_EVERY = 10_007
CURRENT_BUCKET = CurrentBucket(url="", base_urls=["https://photos.test"])
NO_STORE: Any = None  # a sweep that only reports deletes nothing
COLUMNS = (
    *("id", "label", "key", "location", "content_type", "size", "etag", "original_name", "created_at"),
    "rendition_sizes",
)


def key_of(number: int) -> str:
    """Return the key of a recipe, the same each time."""
    return f"{BEGINNING + number}-{hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()}.jpg"


def is_row(number: int) -> bool:
    """Return whether the table has this recipe."""
    return number % ORPHAN_EVERY != 0


def is_object(number: int) -> bool:
    """Return whether the bucket has this object."""
    return number % MISSING_EVERY != 0


class Simulated:
    """A simulated `Inventory`."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        for number in range(0 if prefix else self._count):  # no pieces of uploads are staged
            if is_object(number):
                key = key_of(number)
                yield Listed(key, 50_000, WRITTEN)
                for rendition in sorted(rendition_key(key, size) for size in DEFAULT_RENDITIONS):
                    yield Listed(rendition, 20_000, WRITTEN)
        assert (after, until) == (prefix, None)  # noqa: S101 - nothing else is simulated

    async def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        for _ in prefix:
            yield ListedUpload("", "", WRITTEN)  # there are none

    async def exists(self, key: str) -> bool:
        return is_object(int(key.partition("-")[0]) - BEGINNING)

    async def delete_all(self, keys: Sequence[str]) -> None:
        raise NotImplementedError(keys)

    async def abort(self, upload: ListedUpload) -> None:
        raise NotImplementedError(upload)


def main() -> None:
    """Fill the table for each size, and sweep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[100_000, 1_000_000], metavar="COUNT")
    parser.add_argument("--sweep", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sweep:
        asyncio.run(_sweep(options.sweep))
        return
    with tempfile.TemporaryDirectory(prefix="sweep-") as name, postgres(Path(name), durable=False) as url:
        migrate(url)
        for count in options.counts:
            asyncio.run(_fill(url, count))
            command = [sys.executable, __file__, "--sweep", str(count)]
            subprocess.run(command, check=True, env={**os.environ, "DATABASE_URL": url})  # noqa: S603 - this script


async def _fill(url: str, count: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE recipe CASCADE")
    await connection.copy_records_to_table("recipe", columns=COLUMNS, records=_rows(count))
    await connection.execute("ANALYZE recipe")
    await connection.close()


def _rows(count: int) -> Iterator[tuple[object, ...]]:
    for number in filter(is_row, range(count)):
        key = key_of(number)
        yield (
            UUID(int=number),
            "Pancakes",
            key,
            f"https://photos.test/{key}",
            "image/jpeg",
            50_000,
            "0",
            "p.jpg",
            WRITTEN,
            DEFAULT_RENDITIONS,
        )


async def _sweep(count: int) -> None:
    async with open_engine(DatabaseSettings.from_environment(os.environ)) as engine:
        recipes = Recipes(engine)
        sweep = Sweep(
            Simulated(count),
            recipes,
            IdempotencyKeys(engine, kept_seconds=0),
            Lease(engine, "sweep"),
            Deletions(NO_STORE, Simulated(count), PendingDeletions(engine, bucket=""), CURRENT_BUCKET),
            StagedUploads(engine, limits=StagingLimits(lifetime_seconds=0, max_uploads=0, max_bytes=0)),
            territory=Territory(
                prefix="", staging_prefix="staged/", rendition_sizes=DEFAULT_RENDITIONS, grace=timedelta(days=1)
            ),
        )
        before, began, cpu = _highest_memory(), time.perf_counter(), time.process_time()
        findings = 0
        async for _ in sweep.run(TimeRange(), fix=False):
            findings += 1
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"{count:>9,} recipes: {took:.1f} s, of which {cpu:.1f} s CPU time; {count / took:,.0f} a second")
    print(f"          memory: {before / 1e6:.0f} MB before, {_highest_memory() / 1e6:.0f} MB at its highest")
    print(f"          {findings} findings of {json.dumps(asdict(sweep.tally))}")


def _highest_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
