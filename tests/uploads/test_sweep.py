"""The sweep on a real table and a real bucket: what is amiss is found and mended, and nothing else is touched."""

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

from recipe_api.database.models import Recipe
from recipe_api.resources import Resources, open_resources
from recipe_api.settings import MIB, Settings
from recipe_api.storage import keys
from recipe_api.storage.protocol import Inventory, Listed, ListedUpload
from recipe_api.uploads.sweep import SUSPICIOUS, Amiss, DoubtfulSettings, Finding, Sweep, Tally, Window
from tests.support.rows import row
from tests.support.traces import Backstage

THEN = datetime(2026, 11, 22, 7, 29, 27, 934_000, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
GRACE = timedelta(hours=24)
FOREIGN = ("favicon.ico", "1795332567934.jpg", "zebra/1795332567934-" + "0" * 32 + ".jpg")
"""Keys that this service would not make under any prefix that these tests use."""

Make = Callable[..., Settings]
Hook = Callable[[Resources], Awaitable[None]]


def key_of(number: int = 0, *, at: datetime = THEN, prefix: str = "") -> str:
    """A key of our form; the number tells it from others of the same time."""
    return f"{prefix}{keys.lowest_of(at)}-{number:032x}.jpg"


class World:
    """Bucket and table, as a test arranges them."""

    def __init__(self, backstage: Backstage) -> None:
        self._backstage = backstage

    def object(self, key: str, size: int = 10) -> str:
        self._backstage.s3.put_object(Bucket=self._backstage.bucket, Key=key, Body=bytes(size))
        return key

    def row(self, key: str) -> str:
        values = row().model_dump() | {"key": key}
        names = ", ".join(values)
        places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        self._backstage.sql(f"INSERT INTO recipe ({names}) VALUES ({places})", *values.values())  # noqa: S608 - names are ours
        return key

    def both(self, key: str) -> str:
        return self.object(self.row(key))

    def upload(self, key: str) -> str:
        s3, bucket = self._backstage.s3, self._backstage.bucket
        begun = s3.create_multipart_upload(Bucket=bucket, Key=key)
        s3.upload_part(Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=bytes(5 * MIB))
        return key

    def rows(self) -> set[str]:
        return {record["key"] for record in self._backstage.sql("SELECT key FROM recipe")}

    def objects(self) -> set[str]:
        return set(self._backstage.objects())

    def uploads(self) -> set[str]:
        return set(self._backstage.multipart_uploads())


@pytest.fixture
def world(backstage: Backstage) -> World:
    return World(backstage)


@dataclass(frozen=True, slots=True)
class Aged:
    """An inventory in which what is not young was written two days ago. A store's own clock cannot be put back."""

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
    """What a sweep said."""

    findings: list[Finding] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def keys(self, amiss: Amiss) -> list[str]:
        return [finding.key for finding in self.findings if finding.amiss is amiss]


def swept(
    settings: Settings,
    *,
    fix: bool = False,
    force: bool = False,
    window: Window | None = None,
    young: frozenset[str] = frozenset(),
    after_listing: Hook | None = None,
) -> Swept:
    """Sweeps once; `after_listing` runs when both streams have ended and nothing has been looked at again."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(
            _swept(settings, window or Window(), fix=fix, force=force, young=young, after_listing=after_listing)
        )


async def _swept(
    settings: Settings, window: Window, *, fix: bool, force: bool, young: frozenset[str], after_listing: Hook | None
) -> Swept:
    async with open_resources(settings) as resources:
        inventory: Inventory = Aged(resources.inventory, young)
        if after_listing:
            inventory = Interrupted(inventory, partial(after_listing, resources))
        sweep = Sweep(
            inventory, resources.recipes, resources.idempotency_keys, prefix=settings.s3_key_prefix, grace=GRACE
        )
        findings = [finding async for finding in sweep.run(window, fix=fix, force=force)]
        return Swept(findings, sweep.tally)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An inventory at the end of whose listing something happens."""

    real: Inventory
    then: Callable[[], Awaitable[None]]

    async def objects(self, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        async for found in self.real.objects(prefix=prefix, after=after, until=until):
            yield found
        await self.then()

    def uploads(self, *, prefix: str) -> AsyncIterator[ListedUpload]:
        return self.real.uploads(prefix=prefix)

    def exists(self, key: str) -> Coroutine[Any, Any, bool]:
        return self.real.exists(key)

    def delete_all(self, keys: Sequence[str]) -> Coroutine[Any, Any, None]:
        return self.real.delete_all(keys)

    def abort(self, upload: ListedUpload) -> Coroutine[Any, Any, None]:
        return self.real.abort(upload)


def test_where_all_is_well_it_finds_nothing(make_settings: Make, world: World) -> None:
    for number in range(3):
        world.both(key_of(number))

    found = swept(make_settings(), fix=True)

    assert found.findings == []
    assert found.tally == Tally(objects=3, rows=3)
    assert len(world.objects()) == len(world.rows()) == 3


def test_an_empty_bucket_and_an_empty_table_agree(make_settings: Make, world: World) -> None:
    assert world.objects() == set()
    assert swept(make_settings(), fix=True).findings == []


@pytest.mark.parametrize("fix", [False, True], ids=["report", "fix"])
def test_it_finds_what_is_amiss_and_mends_it_on_request(make_settings: Make, world: World, *, fix: bool) -> None:
    kept = {world.both(key_of(number)) for number in range(3)}
    orphan, missing, dangling = world.object(key_of(10), size=77), world.row(key_of(11)), world.upload(key_of(12))

    found = swept(make_settings(), fix=fix)

    by_sort = {finding.amiss: finding for finding in found.findings}
    assert len(found.findings) == 3
    assert (by_sort[Amiss.ORPHAN].key, by_sort[Amiss.ORPHAN].size) == (orphan, 77)
    assert (by_sort[Amiss.MISSING].key, by_sort[Amiss.MISSING].since) == (missing, THEN)
    assert by_sort[Amiss.DANGLING].key == dangling
    assert all(finding.mended is fix for finding in found.findings)
    assert found.tally == Tally(objects=4, rows=4, orphans=1, missing=1, dangling=1)
    assert found.tally.found == 3
    assert world.objects() == (kept if fix else kept | {orphan})
    assert world.rows() == (kept if fix else kept | {missing})
    assert world.uploads() == (set() if fix else {dangling})


def test_a_second_run_finds_nothing_left(make_settings: Make, world: World) -> None:
    world.object(key_of(1))
    world.row(key_of(2))
    world.upload(key_of(3))
    assert len(swept(make_settings(), fix=True).findings) == 3

    assert swept(make_settings(), fix=True).findings == []


def test_what_is_younger_than_the_grace_is_passed_over(make_settings: Make, world: World) -> None:
    young = frozenset({world.object(key_of(1)), world.upload(key_of(2))})

    assert swept(make_settings(), fix=True, young=young).findings == []

    assert world.objects() == {key_of(1)}
    assert world.uploads() == {key_of(2)}


def test_uploads_outside_the_window_are_left_alone(make_settings: Make, world: World) -> None:
    before, first, last, after = (world.upload(key_of(at=THEN + number * MILLISECOND)) for number in range(4))
    window = Window(since=THEN + MILLISECOND, until=THEN + 3 * MILLISECOND)

    found = swept(make_settings(), window=window, fix=True)

    assert [finding.key for finding in found.findings] == [first, last]
    assert world.uploads() == {before, after}


def test_keys_of_another_form_are_counted_and_left_alone(make_settings: Make, world: World) -> None:
    for key in FOREIGN:
        world.object(key)
    world.upload("backup.tar")

    found = swept(make_settings(), fix=True)

    assert found.findings == []
    assert found.tally == Tally(objects=3, foreign=3)
    assert world.objects() == set(FOREIGN)
    assert world.uploads() == {"backup.tar"}


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
def test_another_prefix_is_another_services(make_settings: Make, world: World, ours: str, theirs: str) -> None:
    world.object(key_of(1, prefix=theirs))
    world.row(key_of(2, prefix=theirs))
    world.upload(key_of(3, prefix=theirs))
    world.object(key_of(1, prefix=ours))
    world.row(key_of(2, prefix=ours))
    world.upload(key_of(3, prefix=ours))

    found = swept(make_settings(S3_KEY_PREFIX=ours), fix=True)

    assert {finding.key for finding in found.findings} == {key_of(number, prefix=ours) for number in (1, 2, 3)}
    assert world.objects() == {key_of(1, prefix=theirs)}
    assert world.rows() == {key_of(2, prefix=theirs)}
    assert world.uploads() == {key_of(3, prefix=theirs)}


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
def test_a_window_begins_with_its_first_moment_and_ends_before_its_last(
    make_settings: Make, world: World, prefix: str, since: datetime | None, until: datetime | None, expected: set[int]
) -> None:
    orphans = {offset: key_of(1, at=THEN + offset * MILLISECOND, prefix=prefix) for offset in (-1, 0, 1)}
    missing = {offset: key_of(2, at=THEN + offset * MILLISECOND, prefix=prefix) for offset in (-1, 0, 1)}
    for key in orphans.values():
        world.object(key)
    for key in missing.values():
        world.row(key)

    found = swept(make_settings(S3_KEY_PREFIX=prefix), window=Window(since, until))

    assert set(found.keys(Amiss.ORPHAN)) == {orphans[offset] for offset in expected}
    assert set(found.keys(Amiss.MISSING)) == {missing[offset] for offset in expected}


def test_an_upload_that_ends_while_it_looks_is_no_finding(make_settings: Make, world: World) -> None:
    key = world.object(key_of(1))

    async def its_row_is_committed(resources: Resources) -> None:
        await resources.records.add(Recipe(**row().model_dump() | {"key": key}))

    found = swept(make_settings(), fix=True, after_listing=its_row_is_committed)

    assert found.findings == []
    assert world.objects() == world.rows() == {key}


def test_a_recipe_that_is_deleted_while_it_looks_is_no_finding(make_settings: Make, world: World) -> None:
    key = world.row(key_of(1))  # its object has gone from the listing already

    async def its_row_goes(resources: Resources) -> None:
        await resources.recipes.remove_keys([key])

    assert swept(make_settings(), fix=True, after_listing=its_row_goes).findings == []


def test_an_object_that_a_listing_left_out_is_no_loss(
    make_settings: Make, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = world.both(key_of(1))
    real = Aged.objects

    async def forgetful(self: Aged, *, prefix: str, after: str, until: str | None) -> AsyncIterator[Listed]:
        async for found in real(self, prefix=prefix, after=after, until=until):
            if found.key != key:
                yield found

    monkeypatch.setattr(Aged, "objects", forgetful)

    assert swept(make_settings(), fix=True).findings == []
    assert world.rows() == {key}


def test_it_looks_again_in_batches(make_settings: Make, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipe_api.uploads.sweep.BATCH", 3)
    monkeypatch.setattr("recipe_api.uploads.sweep.LOOKS_AT_ONCE", 2)
    monkeypatch.setattr("recipe_api.database.repository.KEY_BATCH", 2)
    orphans = [world.object(key_of(number)) for number in range(0, 14, 2)]
    missing = [world.row(key_of(number)) for number in range(1, 14, 2)]

    found = swept(make_settings(), fix=True, force=True)

    assert found.keys(Amiss.ORPHAN) == orphans
    assert found.keys(Amiss.MISSING) == missing
    assert world.objects() == world.rows() == set()


def test_with_a_wrong_bucket_it_deletes_no_row(make_settings: Make, world: World) -> None:
    rows = {world.row(key_of(number)) for number in range(SUSPICIOUS)}

    with pytest.raises(DoubtfulSettings, match=r"0 objects and 10 rows .* 10 rows no object"):
        swept(make_settings(), fix=True)

    assert world.rows() == rows


def test_with_a_wrong_database_it_deletes_no_object(make_settings: Make, world: World) -> None:
    objects = {world.object(key_of(number)) for number in range(SUSPICIOUS)}
    upload = world.upload(key_of(99))

    with pytest.raises(DoubtfulSettings, match="S3_BUCKET, S3_KEY_PREFIX and DATABASE_URL"):
        swept(make_settings(), fix=True)

    assert world.objects() == objects
    assert world.uploads() == {upload}


def test_a_report_doubts_nothing(make_settings: Make, world: World) -> None:
    for number in range(SUSPICIOUS):
        world.row(key_of(number))

    assert len(swept(make_settings()).findings) == SUSPICIOUS


def test_force_overrules_its_doubts(make_settings: Make, world: World) -> None:
    for number in range(SUSPICIOUS):
        world.row(key_of(number))

    assert len(swept(make_settings(), fix=True, force=True).findings) == SUSPICIOUS
    assert world.rows() == set()


def test_much_that_is_amiss_among_more_that_is_well_is_mended(make_settings: Make, world: World) -> None:
    kept = {world.both(key_of(number)) for number in range(SUSPICIOUS)}
    for number in range(SUSPICIOUS):
        world.object(key_of(100 + number))

    swept(make_settings(), fix=True)

    assert world.objects() == world.rows() == kept


def test_a_sweep_that_mends_forgets_expired_idempotency_keys(
    make_settings: Make, world: World, backstage: Backstage
) -> None:
    world.both(key_of(1))
    backstage.sql(
        "INSERT INTO idempotency_key (scope, key, claim, claimed_until, expires_at, fingerprint, recipe_id)"
        " SELECT '', name, gen_random_uuid(), now(), now() + after, '', id"
        " FROM recipe, (VALUES ('old', interval '-1 second'), ('new', interval '1 hour')) AS two(name, after)"
    )

    swept(make_settings())
    assert len(backstage.sql("SELECT FROM idempotency_key")) == 2
    swept(make_settings(), fix=True)

    assert [record["key"] for record in backstage.sql("SELECT key FROM idempotency_key")] == ["new"]


@dataclass(frozen=True, slots=True)
class Thing:
    """One key of ours, and what there is of it."""

    is_object: bool
    is_row: bool
    is_upload: bool
    is_young: bool


THINGS = st.lists(st.builds(Thing, *[st.booleans()] * 3, st.booleans()), max_size=8)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("recipe_api.uploads.sweep.BATCH", 3)
    monkeypatch.setattr("recipe_api.database.repository.KEY_BATCH", 2)
    return iter(())


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("prefix", ["", "public/"])
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(things=THINGS)
def test_after_it_bucket_and_table_agree_and_nothing_else_has_changed(
    make_settings: Make, backstage: Backstage, world: World, prefix: str, things: list[Thing]
) -> None:
    backstage.clear()
    named = {key_of(number, prefix=prefix): thing for number, thing in enumerate(things)}
    for key, thing in named.items():
        if thing.is_object:
            world.object(key)
        if thing.is_row:
            world.row(key)
        if thing.is_upload:
            backstage.s3.create_multipart_upload(Bucket=backstage.bucket, Key=key)
    foreign = {world.object(key) for key in FOREIGN}
    young = frozenset(key for key, thing in named.items() if thing.is_young)

    found = swept(make_settings(S3_KEY_PREFIX=prefix), fix=True, force=True, young=young)

    assert world.rows() == {key for key, thing in named.items() if thing.is_row and thing.is_object}
    assert world.objects() == foreign | {
        key for key, thing in named.items() if thing.is_object and (thing.is_row or thing.is_young)
    }
    assert world.uploads() == {key for key, thing in named.items() if thing.is_upload and thing.is_young}
    old = [thing for thing in named.values() if not thing.is_young]
    assert found.tally.orphans == sum(thing.is_object and not thing.is_row for thing in old)
    assert found.tally.missing == sum(thing.is_row and not thing.is_object for thing in named.values())
    assert found.tally.dangling == sum(thing.is_upload for thing in old)
