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
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from recipe_api.database.client_usage import ClientUsages
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
NO_STAGING = StagingLimits(lifetime_seconds=0, max_uploads=0, max_bytes=0, writable_seconds=0, max_upload_bytes=0)
_FILL = """
    INSERT INTO recipe
        (id, label, key, location, content_type, size, etag, original_name, created_at, rendition_sizes)
    SELECT lpad(to_hex(number), 32, '0')::uuid, 'Pancakes', key, 'https://photos.test/' || key, 'image/jpeg', 50000,
        '0', 'p.jpg', to_timestamp(({beginning} + number) / 1000.0), ARRAY[{sizes}]
    FROM generate_series(0, {count} - 1) AS number
    CROSS JOIN LATERAL (SELECT ({beginning} + number)::text || '-' || md5(number::text) || '.jpg') AS named (key)
    WHERE number % {orphan_every} <> 0
"""


def key_of(number: int) -> str:
    """Return the key of a recipe, the same each time."""
    return f"{BEGINNING + number}-{hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()}.jpg"


def id_of(number: int) -> UUID:
    """Return the id of a recipe."""
    return UUID(int=number)


def fill(count: int) -> str:
    """Return the statement that fills the table: with the rows of these recipes, except one in `ORPHAN_EVERY`."""
    sizes = ", ".join(map(str, DEFAULT_RENDITIONS))
    return _FILL.format(count=count, beginning=BEGINNING, orphan_every=ORPHAN_EVERY, sizes=sizes)


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
                yield Listed(key, 50_000, WRITTEN, "0")
                for rendition in sorted(rendition_key(key, size) for size in DEFAULT_RENDITIONS):
                    yield Listed(rendition, 20_000, WRITTEN, "0")
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
        json.dump(asdict(asyncio.run(_sweep(options.sweep))), sys.stdout)
        return
    with tempfile.TemporaryDirectory(prefix="sweep-") as name, postgres(Path(name), durable=False) as url:
        migrate(url)
        for count in options.counts:
            asyncio.run(_fill(url, count))
            _print(swept(url, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The cost of a sweep, and its result."""

    recipes: int
    seconds: float
    cpu_seconds: float
    bytes_before: int
    peak_bytes: int
    findings: int
    tally: dict[str, int]


def swept(url: str, count: int) -> Swept:
    """Sweep a table with the rows of `fill` in a separate process."""
    command = [sys.executable, __file__, "--sweep", str(count)]
    environment = {**os.environ, "DATABASE_URL": url}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)  # noqa: S603 - this script
    return Swept(**json.loads(done.stdout))


def _print(found: Swept) -> None:
    per_second = found.recipes / found.seconds
    print(f"{found.recipes:>9,} recipes: {found.seconds:.1f} s, of which {found.cpu_seconds:.1f} s CPU time; ", end="")
    print(f"{per_second:,.0f} a second")
    print(f"          memory: {found.bytes_before / 1e6:.0f} MB before, {found.peak_bytes / 1e6:.0f} MB at its highest")
    print(f"          {found.findings} findings of {json.dumps(found.tally)}")


async def _fill(url: str, count: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE recipe CASCADE")
    await connection.execute(fill(count))
    await connection.execute("ANALYZE recipe")
    await connection.close()


async def _sweep(count: int) -> Swept:
    async with open_engine(DatabaseSettings.from_environment(os.environ)) as engine:
        recipes = Recipes(engine)
        sweep = Sweep(
            Simulated(count),
            recipes,
            IdempotencyKeys(engine, kept_seconds=0),
            Lease(engine, "sweep"),
            Deletions(NO_STORE, Simulated(count), PendingDeletions(engine, bucket=""), CURRENT_BUCKET),
            StagedUploads(engine, limits=NO_STAGING),
            ClientUsages(engine),
            territory=Territory(
                prefix="", staging_prefix="staged/", rendition_sizes=DEFAULT_RENDITIONS, grace=timedelta(days=1)
            ),
        )
        before, began, cpu = _highest_memory(), time.perf_counter(), time.process_time()
        findings = 0
        async for _ in sweep.run(TimeRange(), fix=False):
            findings += 1
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Swept(
        recipes=count,
        seconds=took,
        cpu_seconds=cpu,
        bytes_before=before,
        peak_bytes=_highest_memory(),
        findings=findings,
        tally=asdict(sweep.tally),
    )


def _highest_memory() -> int:
    """Return the peak resident memory. The value of `getrusage` includes that of the process that started this one."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
