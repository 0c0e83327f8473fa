"""The sweep on a real table and a real bucket: it finds and fixes disagreements, and touches nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recipe_api.resources import Resources, open_resources
from recipe_api.settings import Settings
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, Listed, ListedUpload
from recipe_api.units import MIB
from recipe_api.uploads.findings import Finding, FindingKind, Tally, Territory, TimeRange
from recipe_api.uploads.sweep import SUSPICIOUS, DoubtfulSettings, Sweep
from tests.support.examples import examples
from tests.support.rows import photo_only, row
from tests.support.traces import Backstage

pytestmark = pytest.mark.slow

THEN = datetime(2026, 11, 22, 7, 29, 27, 934_000, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
GRACE = timedelta(hours=24)
STAGING_PREFIX = "staged/"
"""The default."""
FOREIGN = ("favicon.ico", "1795332567934.jpg", "zebra/1795332567934-" + "0" * 32 + ".jpg")
"""Keys that this service would not create with any of the prefixes in these tests."""

Make = Callable[..., Settings]
Hook = Callable[[Resources], Awaitable[None]]


def key_of(number: int = 0, *, at: datetime = THEN, prefix: str = "") -> str:
    """Return a key in this service's format; the number distinguishes keys of the same time."""
    return f"{prefix}{keys.lower_bound(at)}-{number:032x}.jpg"


class Stores:
    """The bucket and the table, with methods to arrange and inspect their contents."""

    def __init__(self, backstage: Backstage) -> None:
        self._backstage = backstage

    def object(self, key: str, size: int = 10) -> str:
        self._backstage.s3.put_object(Bucket=self._backstage.bucket, Key=key, Body=bytes(size))
        return key

    def row(self, key: str, **other: str | list[int] | None) -> str:
        values = row()._asdict() | {"key": key, "bucket": self._backstage.bucket_url} | other
        names = ", ".join(values)
        parameters = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        self._backstage.sql(f"INSERT INTO recipe ({names}) VALUES ({parameters})", *values.values())  # noqa: S608 - names are ours
        return key

    def both(self, key: str, **other: str | list[int] | None) -> str:
        return self.object(self.row(key, **other))

    def rendition(self, key: str, size: int) -> str:
        return self.object(keys.rendition_key(key, size))

    def upload(self, key: str) -> str:
        s3, bucket = self._backstage.s3, self._backstage.bucket
        begun = s3.create_multipart_upload(Bucket=bucket, Key=key)
        s3.upload_part(Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=bytes(5 * MIB))
        return key

    def rows(self) -> set[str]:
        return {record["key"] for record in self._backstage.sql("SELECT key FROM recipe")}

    def recorded(self, key: str) -> list[int]:
        """Return the sizes of the renditions that the row mentions."""
        (found,) = self._backstage.sql("SELECT rendition_sizes FROM recipe WHERE key = $1", key)
        return found["rendition_sizes"] or []

    def objects(self) -> set[str]:
        return set(self._backstage.objects())

    def uploads(self) -> set[str]:
        return set(self._backstage.multipart_uploads())


@pytest.fixture
def stores(backstage: Backstage) -> Stores:
    return Stores(backstage)


@dataclass(frozen=True, slots=True)
class Aged:
    """An inventory that reports everything except `young` as two days older, because a store's clock cannot be set."""

    real: Inventory
    young: frozenset[str] = frozenset()

    async def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        async for found in self.real.objects(prefix=prefix, after=after, until=until):
            yield found if found.key in self.young else replace(found, modified=found.modified - 2 * GRACE)

    async def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        async for found in self.real.uploads(prefix=prefix):
            yield found if found.key in self.young else replace(found, begun=found.begun - 2 * GRACE)

    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        return self.real.exists(key)

    def delete_all(self, keys: Sequence[str]) -> Coroutine[Any, Any, None]:
        return self.real.delete_all(keys)

    def abort(self, upload: ListedUpload) -> Coroutine[Any, Any, None]:
        return self.real.abort(upload)


@dataclass(slots=True)
class Swept:
    """The result of a sweep."""

    findings: list[Finding] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def keys(self, kind: FindingKind) -> list[str]:
        return [finding.key for finding in self.findings if finding.kind is kind]


def swept(
    settings: Settings,
    *,
    fix: bool = False,
    fix_missing: bool | None = None,
    force: bool = False,
    time_range: TimeRange | None = None,
    young: frozenset[str] = frozenset(),
    after_listing: Hook | None = None,
) -> Swept:
    """Run one sweep. `after_listing` runs when both streams have ended, before anything is checked again."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(
            _swept(
                settings,
                time_range or TimeRange(),
                fix=fix,
                fix_missing=fix if fix_missing is None else fix_missing,
                force=force,
                young=young,
                after_listing=after_listing,
            )
        )


async def _swept(
    settings: Settings,
    time_range: TimeRange,
    *,
    fix: bool,
    fix_missing: bool,
    force: bool,
    young: frozenset[str],
    after_listing: Hook | None,
) -> Swept:
    async with open_resources(settings) as resources:
        inventory: Inventory = Aged(resources.inventory, young)
        if after_listing:
            inventory = Interrupted(inventory, partial(after_listing, resources))
        sweep = Sweep(
            inventory,
            resources.recipes,
            resources.idempotency_keys,
            resources.sweep_lease,
            resources.deletions,
            resources.staged_uploads,
            resources.client_usages,
            territory=Territory(
                prefix=settings.s3_key_prefix,
                staging_prefix=settings.s3_staging_prefix,
                rendition_sizes=settings.renditions,
                grace=GRACE,
            ),
        )
        run = sweep.run(time_range, fix=fix, fix_missing=fix_missing, force=force)
        findings = [finding async for finding in run]
        return Swept(findings, sweep.tally)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An inventory that calls `then` at the end of the listing of photos."""

    real: Inventory
    then: Callable[[], Awaitable[None]]

    async def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        async for found in self.real.objects(prefix=prefix, after=after, until=until):
            yield found
        if prefix != STAGING_PREFIX:
            await self.then()

    def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        return self.real.uploads(prefix=prefix)

    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        return self.real.exists(key)

    def delete_all(self, keys: Sequence[str]) -> Coroutine[Any, Any, None]:
        return self.real.delete_all(keys)

    def abort(self, upload: ListedUpload) -> Coroutine[Any, Any, None]:
        return self.real.abort(upload)


def test_it_finds_nothing_when_bucket_and_table_agree(make_settings: Make, stores: Stores) -> None:
    for number in range(3):
        stores.both(key_of(number))

    found = swept(make_settings(), fix=True)

    assert found.findings == []
    assert found.tally == Tally(objects=3, rows=3, pairs=3)
    assert len(stores.objects()) == len(stores.rows()) == 3


def test_it_finds_nothing_in_an_empty_bucket_and_table(make_settings: Make, stores: Stores) -> None:
    assert stores.objects() == set()
    assert swept(make_settings(), fix=True).findings == []


@pytest.mark.parametrize("fix", [False, True], ids=["report", "fix"])
def test_it_finds_disagreements_and_fixes_them_on_request(make_settings: Make, stores: Stores, *, fix: bool) -> None:
    kept = {stores.both(key_of(number)) for number in range(3)}
    orphan, missing, dangling = stores.object(key_of(10), size=77), stores.row(key_of(11)), stores.upload(key_of(12))

    found = swept(make_settings(), fix=fix)

    by_kind = {finding.kind: finding for finding in found.findings}
    assert len(found.findings) == 3
    assert (by_kind[FindingKind.ORPHAN].key, by_kind[FindingKind.ORPHAN].size) == (orphan, 77)
    assert (by_kind[FindingKind.MISSING].key, by_kind[FindingKind.MISSING].since) == (missing, THEN)
    assert by_kind[FindingKind.DANGLING].key == dangling
    assert all(finding.fixed is fix for finding in found.findings)
    assert found.tally == Tally(objects=4, rows=4, pairs=3, orphans=1, missing=1, dangling=1)
    assert found.tally.found == 3
    assert stores.objects() == (kept if fix else kept | {orphan})
    assert stores.rows() == (kept if fix else kept | {missing})
    assert stores.uploads() == (set() if fix else {dangling})


def test_a_second_run_finds_nothing(make_settings: Make, stores: Stores) -> None:
    stores.object(key_of(1))
    stores.row(key_of(2))
    stores.upload(key_of(3))
    assert len(swept(make_settings(), fix=True, force=True).findings) == 3

    assert swept(make_settings(), fix=True).findings == []


def test_it_skips_anything_younger_than_the_grace_period(make_settings: Make, stores: Stores) -> None:
    young = frozenset({stores.object(key_of(1)), stores.upload(key_of(2))})

    assert swept(make_settings(), fix=True, young=young).findings == []

    assert stores.objects() == {key_of(1)}
    assert stores.uploads() == {key_of(2)}


def test_it_leaves_multipart_uploads_outside_the_time_range_alone(make_settings: Make, stores: Stores) -> None:
    before, first, last, after = (stores.upload(key_of(at=THEN + number * MILLISECOND)) for number in range(4))
    time_range = TimeRange(since=THEN + MILLISECOND, until=THEN + 3 * MILLISECOND)

    found = swept(make_settings(), time_range=time_range, fix=True)

    assert [finding.key for finding in found.findings] == [first, last]
    assert stores.uploads() == {before, after}


def test_it_counts_keys_of_another_format_and_leaves_them_alone(make_settings: Make, stores: Stores) -> None:
    for key in FOREIGN:
        stores.object(key)
    stores.upload("backup.tar")

    found = swept(make_settings(), fix=True)

    assert found.findings == []
    assert found.tally == Tally(objects=3, foreign=3)
    assert stores.objects() == set(FOREIGN)
    assert stores.uploads() == {"backup.tar"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("", "public/"),
        ("public/", ""),
        ("public/", "public/old/"),
        ("public/old/", "public/"),
        ("a", "ab"),
        ("ab", "a"),
    ],
)
def test_it_leaves_the_keys_of_another_prefix_alone(
    make_settings: Make, stores: Stores, ours: str, theirs: str
) -> None:
    stores.object(key_of(1, prefix=theirs))
    stores.row(key_of(2, prefix=theirs))
    stores.upload(key_of(3, prefix=theirs))
    stores.object(key_of(1, prefix=ours))
    stores.row(key_of(2, prefix=ours))
    stores.upload(key_of(3, prefix=ours))

    found = swept(make_settings(S3_KEY_PREFIX=ours), fix=True, force=True)

    assert {finding.key for finding in found.findings} == {key_of(number, prefix=ours) for number in (1, 2, 3)}
    assert stores.objects() == {key_of(1, prefix=theirs)}
    assert stores.rows() == {key_of(2, prefix=theirs)}
    assert stores.uploads() == {key_of(3, prefix=theirs)}


@pytest.mark.parametrize("prefix", ["", "public/"])
@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, {-1, 0, 1}),
        (THEN, None, {0, 1}),
        (None, THEN, {-1}),
        (THEN, THEN + MILLISECOND, {0}),
        (THEN - MILLISECOND, THEN + MILLISECOND, {-1, 0}),
        (THEN + MILLISECOND, None, {1}),
        (None, datetime(9999, 12, 31, tzinfo=UTC), {-1, 0, 1}),
        (datetime(1, 1, 1, tzinfo=UTC), None, {-1, 0, 1}),
        (datetime(2300, 1, 1, tzinfo=UTC), None, set()),
        (THEN, THEN, set()),
    ],
)
def test_a_time_range_includes_its_start_and_excludes_its_end(
    make_settings: Make, stores: Stores, prefix: str, since: datetime | None, until: datetime | None, expected: set[int]
) -> None:
    orphans = {offset: key_of(1, at=THEN + offset * MILLISECOND, prefix=prefix) for offset in (-1, 0, 1)}
    missing = {offset: key_of(2, at=THEN + offset * MILLISECOND, prefix=prefix) for offset in (-1, 0, 1)}
    for key in orphans.values():
        stores.object(key)
    for key in missing.values():
        stores.row(key)

    found = swept(make_settings(S3_KEY_PREFIX=prefix), time_range=TimeRange(since, until))

    assert set(found.keys(FindingKind.ORPHAN)) == {orphans[offset] for offset in expected}
    assert set(found.keys(FindingKind.MISSING)) == {missing[offset] for offset in expected}


def test_an_upload_that_completes_during_the_sweep_is_not_a_finding(make_settings: Make, stores: Stores) -> None:
    key = stores.object(key_of(1))

    async def commit_its_row(resources: Resources) -> None:
        await resources.recipe_writer.add(row()._replace(key=key))

    found = swept(make_settings(), fix=True, after_listing=commit_its_row)

    assert found.findings == []
    assert stores.objects() == stores.rows() == {key}


def test_a_recipe_that_is_deleted_during_the_sweep_is_not_a_finding(make_settings: Make, stores: Stores) -> None:
    key = stores.row(key_of(1))  # its object is already gone

    async def delete_its_row(resources: Resources) -> None:
        await resources.recipes.remove_keys([key], objects_of=photo_only)

    assert swept(make_settings(), fix=True, after_listing=delete_its_row).findings == []


def test_an_object_that_a_listing_omits_is_not_missing(
    make_settings: Make, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stores.both(key_of(1))
    real = Aged.objects

    async def incomplete(self: Aged, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        async for found in real(self, prefix=prefix, after=after, until=until):
            if found.key != key:
                yield found

    monkeypatch.setattr(Aged, "objects", incomplete)

    assert swept(make_settings(), fix=True).findings == []
    assert stores.rows() == {key}


def test_it_confirms_findings_in_batches(make_settings: Make, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipe_api.uploads.sweep.BATCH", 3)
    monkeypatch.setattr("recipe_api.uploads.sweep.CONCURRENT_CHECKS", 2)
    monkeypatch.setattr("recipe_api.database.repository.KEY_BATCH", 2)
    orphans = [stores.object(key_of(number)) for number in range(0, 14, 2)]
    missing = [stores.row(key_of(number)) for number in range(1, 14, 2)]

    found = swept(make_settings(), fix=True, force=True)

    assert found.keys(FindingKind.ORPHAN) == orphans
    assert found.keys(FindingKind.MISSING) == missing
    assert stores.objects() == stores.rows() == set()


@pytest.mark.parametrize("count", [1, SUSPICIOUS - 1, SUSPICIOUS])
def test_it_deletes_no_row_with_a_wrong_bucket(make_settings: Make, stores: Stores, count: int) -> None:
    rows = {stores.row(key_of(number)) for number in range(count)}

    with pytest.raises(DoubtfulSettings, match="S3_BUCKET, S3_KEY_PREFIX and DATABASE_URL"):
        swept(make_settings(), fix=True)

    assert stores.rows() == rows


@pytest.mark.parametrize("count", [1, SUSPICIOUS - 1, SUSPICIOUS])
def test_it_deletes_no_object_with_a_wrong_database(make_settings: Make, stores: Stores, count: int) -> None:
    objects = {stores.object(key_of(number)) for number in range(count)}
    upload = stores.upload(key_of(99))

    with pytest.raises(DoubtfulSettings, match="S3_BUCKET, S3_KEY_PREFIX and DATABASE_URL"):
        swept(make_settings(), fix=True)

    assert stores.objects() == objects
    assert stores.uploads() == {upload}


def test_a_pair_outside_the_time_range_shows_that_bucket_and_table_belong_together(
    make_settings: Make, stores: Stores
) -> None:
    pair = stores.both(key_of(1))
    stores.object(key_of(2, at=THEN + MILLISECOND))
    stores.row(key_of(3, at=THEN + MILLISECOND))

    found = swept(make_settings(), fix=True, time_range=TimeRange(since=THEN + MILLISECOND))

    assert all(finding.fixed for finding in found.findings)
    assert stores.objects() == stores.rows() == {pair}


def test_it_deletes_rows_only_with_fix_missing(make_settings: Make, stores: Stores) -> None:
    stores.both(key_of(1))
    missing = stores.row(key_of(2))

    found = swept(make_settings(), fix=True, fix_missing=False)

    assert [(finding.key, finding.fixed) for finding in found.findings] == [(missing, False)]
    assert missing in stores.rows()


@pytest.mark.parametrize("force", [False, True], ids=["", "force"])
def test_it_leaves_rows_of_a_previous_bucket_alone(make_settings: Make, stores: Stores, *, force: bool) -> None:
    for number in range(12):
        stores.row(key_of(number), bucket="https://former.test")
    for number in range(12, 25):
        stores.both(key_of(number))

    found = swept(make_settings(), fix=True, force=force)

    assert found.findings == []
    assert found.tally == Tally(objects=13, rows=25, pairs=13, other_bucket=12)
    assert len(stores.rows()) == 25


@pytest.mark.parametrize(
    ("base", "belongs"), [("own", True), ("https://cdn.test", True), ("https://former-cdn.test", False)]
)
def test_a_row_without_a_bucket_belongs_to_the_bucket_in_its_location(
    make_settings: Make, stores: Stores, backstage: Backstage, base: str, *, belongs: bool
) -> None:
    stores.both(key_of(1))
    key = key_of(2)
    stores.row(key, bucket=None, location=f"{backstage.bucket_url if base == 'own' else base}/{key}")

    found = swept(make_settings(PUBLIC_BASE_URL="https://cdn.test"), fix=True)

    assert found.keys(FindingKind.MISSING) == ([key] if belongs else [])
    assert found.tally.other_bucket == (not belongs)
    assert (key in stores.rows()) is not belongs


def test_a_row_with_another_public_address_still_belongs_to_its_bucket(make_settings: Make, stores: Stores) -> None:
    stores.both(key_of(1))
    key = stores.row(key_of(2), location="https://former-cdn.test/2")

    assert swept(make_settings(PUBLIC_BASE_URL="https://cdn.test"), fix=True).keys(FindingKind.MISSING) == [key]


def test_a_report_stops_after_a_batch_that_is_mostly_findings(
    make_settings: Make, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipe_api.uploads.sweep.BATCH", SUSPICIOUS)
    for number in range(SUSPICIOUS + 1):
        stores.row(key_of(number))

    with pytest.raises(DoubtfulSettings, match=f"0 objects and {SUSPICIOUS} rows"):
        swept(make_settings())
    assert len(swept(make_settings(), force=True).findings) == SUSPICIOUS + 1


def pending(backstage: Backstage, key: str, bucket: str | None) -> str:
    backstage.sql(
        "INSERT INTO pending_deletion (key, bucket, location, requested_at, attempts, next_attempt_at)"
        " VALUES ($1, $2, 'https://photos.test/' || $1, now(), 0, now() + interval '1 hour')",
        key,
        bucket,
    )
    return key


@pytest.mark.parametrize("fix", [False, True], ids=["report", "fix"])
def test_it_finds_pending_deletions_of_any_time_and_age(
    make_settings: Make, stores: Stores, backstage: Backstage, *, fix: bool
) -> None:
    keys_of = [pending(backstage, stores.object(key_of(number)), backstage.bucket_url) for number in range(20)]
    foreign = pending(backstage, stores.object("zebra/1.jpg"), None)

    found = swept(
        make_settings(), fix=fix, young=frozenset(keys_of), time_range=TimeRange(since=THEN + timedelta(days=1))
    )

    assert found.keys(FindingKind.PENDING) == [*keys_of, foreign]
    assert all(finding.fixed is fix for finding in found.findings)
    assert found.tally.pending == 21
    assert stores.objects() == (set() if fix else {*keys_of, foreign})
    assert len(backstage.sql("SELECT FROM pending_deletion")) == (0 if fix else 21)


def test_an_object_with_a_pending_deletion_is_not_also_an_orphan(
    make_settings: Make, stores: Stores, backstage: Backstage
) -> None:
    pending(backstage, stores.object(key_of(1)), backstage.bucket_url)

    assert [finding.kind for finding in swept(make_settings()).findings] == [FindingKind.PENDING]


def test_a_deletion_in_another_bucket_stays_pending(make_settings: Make, backstage: Backstage) -> None:
    key = pending(backstage, key_of(1), "https://former.test")
    lost = pending(backstage, key_of(2), None)

    found = swept(make_settings(), fix=True)

    assert [(finding.key, finding.fixed, finding.other_bucket) for finding in found.findings] == [
        (key, False, True),
        (lost, False, True),
    ]
    assert len(backstage.sql("SELECT FROM pending_deletion")) == 2


def test_force_overrides_the_checks(make_settings: Make, stores: Stores) -> None:
    for number in range(SUSPICIOUS):
        stores.row(key_of(number))

    assert len(swept(make_settings(), fix=True, force=True).findings) == SUSPICIOUS
    assert stores.rows() == set()


def test_it_fixes_many_findings_among_as_many_pairs(make_settings: Make, stores: Stores) -> None:
    kept = {stores.both(key_of(number)) for number in range(SUSPICIOUS)}
    for number in range(SUSPICIOUS):
        stores.object(key_of(100 + number))

    swept(make_settings(), fix=True)

    assert stores.objects() == stores.rows() == kept


def test_a_sweep_that_fixes_deletes_expired_idempotency_keys(
    make_settings: Make, stores: Stores, backstage: Backstage
) -> None:
    stores.both(key_of(1))
    backstage.sql(
        "INSERT INTO idempotency_key (scope, key, claim, claimed_until, expires_at, fingerprint, recipe_id)"
        " SELECT '', name, gen_random_uuid(), now(), now() + after, '', id"
        " FROM recipe, (VALUES ('old', interval '-1 second'), ('new', interval '1 hour')) AS two(name, after)"
    )

    swept(make_settings())
    assert len(backstage.sql("SELECT FROM idempotency_key")) == 2
    swept(make_settings(), fix=True)

    assert [record["key"] for record in backstage.sql("SELECT key FROM idempotency_key")] == ["new"]


def test_renditions_that_the_row_mentions_are_not_findings(make_settings: Make, stores: Stores) -> None:
    key = stores.both(key_of(1), rendition_sizes=[64, 320, 1920])
    for size in (64, 320, 1920):
        stores.rendition(key, size)
    stores.both(key_of(2))

    found = swept(make_settings(), fix=True)

    assert found.findings == []
    assert found.tally == Tally(objects=5, renditions=3, rows=2, pairs=2)


def test_a_rendition_that_the_row_does_not_mention_is_not_a_finding(make_settings: Make, stores: Stores) -> None:
    """It is being made, or the process has died before it could record it."""
    key = stores.both(key_of(1), rendition_sizes=[320])
    renditions = {stores.rendition(key, size) for size in (64, 320, 1920)}

    assert swept(make_settings(), fix=True).findings == []
    assert stores.objects() == {key, *renditions}


@pytest.mark.parametrize("prefix", ["", "public/"])
@pytest.mark.parametrize("fix", [False, True], ids=["report", "fix"])
def test_a_rendition_without_a_row_is_an_orphan(make_settings: Make, stores: Stores, prefix: str, *, fix: bool) -> None:
    kept = {stores.both(key_of(number, prefix=prefix)) for number in (1, 3)}
    orphan = stores.rendition(key_of(2, prefix=prefix), 320)
    young = stores.rendition(key_of(4, prefix=prefix), 320)

    found = swept(make_settings(S3_KEY_PREFIX=prefix), fix=fix, young=frozenset({young}))

    assert found.keys(FindingKind.ORPHAN) == [orphan]
    assert (found.tally.orphans, found.tally.orphan_renditions, found.tally.found) == (1, 1, 1)
    assert stores.objects() == kept | {young} | (set() if fix else {orphan})


def test_a_rendition_whose_recipe_is_deleted_during_the_sweep_is_not_an_orphan(
    make_settings: Make, stores: Stores, backstage: Backstage
) -> None:
    stores.both(key_of(1))
    rendition = stores.rendition(key_of(2), 320)
    pending(backstage, rendition, backstage.bucket_url)

    assert [finding.kind for finding in swept(make_settings()).findings] == [FindingKind.PENDING]


def test_a_rendition_whose_row_the_sweep_did_not_see_is_not_an_orphan(make_settings: Make, stores: Stores) -> None:
    key = key_of(1)
    stores.object(key)
    rendition = stores.rendition(key, 320)

    async def commit_its_row(resources: Resources) -> None:
        await resources.recipe_writer.add(row()._replace(key=key))

    assert swept(make_settings(), fix=True, after_listing=commit_its_row).findings == []
    assert stores.objects() == {key, rendition}


@pytest.mark.parametrize("fix", [False, True], ids=["report", "fix"])
def test_a_rendition_that_is_lost_is_removed_from_its_row(make_settings: Make, stores: Stores, *, fix: bool) -> None:
    key = stores.both(key_of(1), rendition_sizes=[64, 320, 1920])
    stores.rendition(key, 320)
    other = stores.both(key_of(2), rendition_sizes=[64])
    stores.rendition(other, 64)

    found = swept(make_settings(), fix=fix)

    assert found.keys(FindingKind.LOST) == [keys.rendition_key(key, size) for size in (1920, 64)]
    assert all((finding.fixed, finding.since) == (fix, THEN) for finding in found.findings)
    assert found.tally == Tally(objects=4, renditions=2, rows=2, pairs=2, lost=2)
    assert stores.recorded(key) == ([320] if fix else [64, 320, 1920])
    assert stores.recorded(other) == [64]
    assert len(swept(make_settings(), fix=fix).findings) == (0 if fix else 2)


def test_a_rendition_is_not_lost_if_its_recipe_is_deleted_during_the_sweep(make_settings: Make, stores: Stores) -> None:
    key = stores.both(key_of(1), rendition_sizes=[320])

    async def delete_its_row(resources: Resources) -> None:
        await resources.recipes.remove_keys([key], objects_of=photo_only)

    assert swept(make_settings(), after_listing=delete_its_row).findings == []


def test_a_rendition_that_a_listing_omits_is_not_lost(
    make_settings: Make, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stores.both(key_of(1), rendition_sizes=[320])
    omitted = stores.rendition(key, 320)
    real = Aged.objects

    async def incomplete(self: Aged, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        async for found in real(self, prefix=prefix, after=after, until=until):
            if found.key != omitted:
                yield found

    monkeypatch.setattr(Aged, "objects", incomplete)

    assert swept(make_settings(), fix=True).findings == []
    assert stores.recorded(key) == [320]


def test_the_renditions_of_a_missing_photo_are_not_lost_as_well(make_settings: Make, stores: Stores) -> None:
    missing = stores.row(key_of(1), rendition_sizes=[64, 320])

    assert [(finding.kind, finding.key) for finding in swept(make_settings()).findings] == [
        (FindingKind.MISSING, missing)
    ]


@pytest.mark.parametrize("is_copied", [False, True], ids=["", "photo copied"])
def test_renditions_in_a_previous_bucket_are_not_lost(make_settings: Make, stores: Stores, *, is_copied: bool) -> None:
    stores.both(key_of(1))
    former = stores.row(key_of(2), bucket="https://former.test", rendition_sizes=[320])
    if is_copied:
        stores.object(former)

    found = swept(make_settings(), fix=True, force=True)

    assert found.findings == []
    assert found.tally.other_bucket == (0 if is_copied else 1)
    assert stores.recorded(former) == [320]


def test_the_renditions_of_a_missing_photo_are_deleted_with_its_row(
    make_settings: Make, stores: Stores, backstage: Backstage
) -> None:
    kept = stores.both(key_of(1))
    missing = stores.row(key_of(2), rendition_sizes=[64])
    renditions = {stores.rendition(missing, size) for size in (64, 320)}  # only one of them is recorded

    assert swept(make_settings(), fix=True, fix_missing=False).keys(FindingKind.MISSING) == [missing]
    assert stores.objects() == {kept, *renditions}
    found = swept(make_settings(RENDITIONS="320"), fix=True)

    assert found.keys(FindingKind.MISSING) == [missing]
    assert stores.objects() == stores.rows() == {kept}
    assert backstage.sql("SELECT FROM pending_deletion") == []


def test_many_renditions_without_a_row_or_an_object_raise_no_doubt(make_settings: Make, stores: Stores) -> None:
    kept = stores.both(key_of(0), rendition_sizes=list(range(20, 20 + SUSPICIOUS)))
    for number in range(1, SUSPICIOUS + 1):
        stores.rendition(key_of(number), 320)

    found = swept(make_settings(), fix=True)

    assert (found.tally.lost, found.tally.orphan_renditions) == (SUSPICIOUS, SUSPICIOUS)
    assert stores.objects() == {kept}


@pytest.mark.parametrize("rows", [False, True], ids=["objects", "rows"])
def test_renditions_do_not_dilute_the_doubt(make_settings: Make, stores: Stores, *, rows: bool) -> None:
    for number in range(SUSPICIOUS):
        if rows:
            stores.row(key_of(number), rendition_sizes=[64, 320, 1920])
        else:
            stores.object(key_of(number))
        for size in (64, 320, 1920):
            stores.rendition(key_of(number), size)
    before = stores.objects(), stores.rows()
    stores.both(key_of(99))  # which alone would show that bucket and table belong together

    with pytest.raises(DoubtfulSettings, match="not counting renditions"):
        swept(make_settings(), fix=True)

    assert (stores.objects(), stores.rows()) == tuple(found | {key_of(99)} for found in before)


def test_a_rendition_does_not_show_that_bucket_and_table_belong_together(make_settings: Make, stores: Stores) -> None:
    missing = stores.row(key_of(1), rendition_sizes=[64, 320])
    rendition = stores.rendition(missing, 320)
    orphan = stores.rendition(key_of(2), 320)

    with pytest.raises(DoubtfulSettings, match="No row was found whose photo is in the bucket"):
        swept(make_settings(), fix=True)

    assert stores.objects() == {rendition, orphan}
    assert stores.recorded(missing) == [64, 320]


@dataclass(frozen=True, slots=True)
class State:
    """What exists of one photo."""

    is_object: bool
    is_row: bool
    is_upload: bool
    is_young: bool
    rendition_objects: frozenset[int]
    recorded_renditions: frozenset[int]

    @property
    def lost(self) -> frozenset[int]:
        return self.recorded_renditions - self.rendition_objects if self.is_row and self.is_object else frozenset()


SIZES = st.frozensets(st.sampled_from([64, 320, 1920]))
STATES = st.lists(st.builds(State, *[st.booleans()] * 4, SIZES, SIZES), max_size=8)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("recipe_api.uploads.sweep.BATCH", 3)
    monkeypatch.setattr("recipe_api.database.repository.KEY_BATCH", 2)
    return iter(())


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("prefix", [pytest.param("", marks=pytest.mark.exhaustive), "public/"])
@hypothesis_settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=STATES)
def test_afterwards_bucket_and_table_agree_and_nothing_else_has_changed(
    make_settings: Make, backstage: Backstage, stores: Stores, prefix: str, states: list[State]
) -> None:
    backstage.clear()
    by_key = {key_of(number, prefix=prefix): state for number, state in enumerate(states)}
    renditions: dict[str, set[str]] = {}
    for key, state in by_key.items():
        if state.is_object:
            stores.object(key)
        if state.is_row:
            stores.row(key, rendition_sizes=sorted(state.recorded_renditions))
        if state.is_upload:
            backstage.s3.create_multipart_upload(Bucket=backstage.bucket, Key=key)
        renditions[key] = {stores.rendition(key, size) for size in state.rendition_objects}
    foreign = {stores.object(key) for key in FOREIGN}
    young = frozenset(each for key, state in by_key.items() if state.is_young for each in (key, *renditions[key]))

    found = swept(make_settings(S3_KEY_PREFIX=prefix, RENDITIONS="64,320,1920"), fix=True, force=True, young=young)

    assert stores.rows() == {key for key, state in by_key.items() if state.is_row and state.is_object}
    assert stores.objects() == foreign.union(
        *(
            ({key} if state.is_object else set()) | renditions[key]
            for key, state in by_key.items()
            if (state.is_row and state.is_object) or (state.is_young and not state.is_row)
        )
    )
    assert stores.uploads() == {key for key, state in by_key.items() if state.is_upload and state.is_young}
    for key in stores.rows():
        assert set(stores.recorded(key)) == by_key[key].recorded_renditions & by_key[key].rendition_objects
    old = [state for state in by_key.values() if not state.is_young]
    rowless = [state for state in old if not state.is_row]
    assert found.tally.orphan_renditions == sum(len(state.rendition_objects) for state in rowless)
    assert found.tally.orphans == sum(state.is_object + len(state.rendition_objects) for state in rowless)
    assert found.tally.missing == sum(state.is_row and not state.is_object for state in by_key.values())
    assert found.tally.lost == sum(len(state.lost) for state in by_key.values())
    assert found.tally.dangling == sum(state.is_upload for state in old)
    assert not swept(make_settings(S3_KEY_PREFIX=prefix), fix=True, force=True, young=young).findings
