"""Pending deletions: who attempts them, when, and what counts as done. On a real table and a real bucket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from recipe_api.database import deletions as table
from recipe_api.database.deletions import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, ObjectRef, PendingDeletions
from recipe_api.errors import DatabaseUnavailable
from recipe_api.resources import open_resources
from recipe_api.settings import Settings
from recipe_api.uploads import deletions
from tests.support.database_proxy import DatabaseProxy
from tests.support.fault_proxy import StoreProxy
from tests.support.proxy import Fault, Plan
from tests.support.rows import photo_only, row
from tests.support.traces import Backstage, eventually

Make = Callable[..., Settings]
PREVIOUS = "https://previous.test"


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    # asyncio.run() would remove the event loop of the session's async tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(work)


@pytest.fixture
def store(make_settings: Make) -> Iterator[StoreProxy]:
    endpoint = make_settings().s3_endpoint_url
    assert endpoint
    with StoreProxy.before(endpoint).running() as proxy:
        yield proxy


def create_object(backstage: Backstage, key: str = "1.jpg", **other: str | None) -> ObjectRef:
    """Create an object, and return a reference to it."""
    backstage.s3.put_object(Bucket=backstage.bucket, Key=key, Body=b"x")
    values: dict[str, Any] = {"bucket": backstage.bucket_url, "location": f"https://photos.test/{key}"} | other
    return ObjectRef(key=key, **values)


def request_deletion(backstage: Backstage, ref: ObjectRef, *, due: bool = True) -> ObjectRef:
    """Record a pending deletion of a process that has died."""
    backstage.sql(
        "INSERT INTO pending_deletion (key, bucket, location, requested_at, attempts, next_attempt_at)"
        " VALUES ($1, $2, $3, now(), 0, now() + $4)",
        *(ref.key, ref.bucket, ref.location, timedelta(seconds=0 if due else FIRST_WAIT_SECONDS)),
    )
    return ref


def pending_keys(backstage: Backstage) -> set[str]:
    return {record["key"] for record in backstage.sql("SELECT key FROM pending_deletion")}


class TestRemovingARow:
    def test_records_the_deletion_of_its_object_in_the_same_commit(
        self, make_settings: Make, backstage: Backstage
    ) -> None:
        recipe = row()._replace(bucket=backstage.bucket_url)

        async def remove_and_die() -> None:
            async with open_resources(make_settings()) as resources:
                await resources.recipe_writer.add(recipe)
                await resources.recipes.remove(recipe.id, objects_of=photo_only)

        run_apart(remove_and_die())

        assert backstage.rows() == []
        (found,) = backstage.sql("SELECT *, next_attempt_at - requested_at AS lease FROM pending_deletion")
        assert (found["key"], found["bucket"], found["location"]) == (recipe.key, recipe.bucket, recipe.location)
        assert found["lease"] == timedelta(seconds=FIRST_WAIT_SECONDS)

    def test_fails_if_the_deletion_of_its_object_cannot_be_recorded(
        self, make_settings: Make, backstage: Backstage
    ) -> None:
        recipe = row()

        async def removed() -> None:
            async with open_resources(make_settings()) as resources:
                await resources.recipe_writer.add(recipe)
                with pytest.raises(DatabaseUnavailable):
                    await resources.recipes.remove(recipe.id, objects_of=photo_only)

        backstage.sql("ALTER TABLE pending_deletion RENAME TO away")
        try:
            run_apart(removed())
        finally:
            backstage.sql("ALTER TABLE away RENAME TO pending_deletion")

        assert [found["id"] for found in backstage.rows()] == [recipe.id]


@asynccontextmanager
async def two_processes(settings: Settings) -> AsyncIterator[tuple[PendingDeletions, PendingDeletions]]:
    async with open_resources(settings) as one, open_resources(settings) as other:
        yield one.deletions.pending, other.deletions.pending


class TestClaiming:
    def test_gives_each_object_to_one_process(self, make_settings: Make, backstage: Backstage) -> None:
        expected = {request_deletion(backstage, create_object(backstage, f"{number}.jpg")).key for number in range(6)}

        async def claimed() -> None:
            async with two_processes(make_settings()) as (one, other):
                shares = await asyncio.gather(one.claim(limit=4), other.claim(limit=4))
                keys = [ref.key for share in shares for ref in share]
                keys += [ref.key for ref in await one.claim(limit=4)]  # those that both skipped
                assert sorted(keys) == sorted(expected)
                assert await other.claim(limit=4) == []

        run_apart(claimed())

    def test_leaves_a_new_deletion_to_the_process_that_accepted_it(
        self, make_settings: Make, backstage: Backstage
    ) -> None:
        request_deletion(backstage, create_object(backstage), due=False)

        async def claimed() -> None:
            async with two_processes(make_settings()) as (one, _):
                assert await one.claim(limit=1) == []
                seconds = await one.seconds_to_next()
                assert seconds is not None
                assert 0 < seconds <= FIRST_WAIT_SECONDS

        run_apart(claimed())

    def test_waits_longer_after_each_failure_up_to_an_hour(self, make_settings: Make, backstage: Backstage) -> None:
        request_deletion(backstage, create_object(backstage))
        waits = []

        async def claimed() -> None:
            async with two_processes(make_settings()) as (one, _):
                await one.claim(limit=1)

        for attempts in (0, 1, 2, 5, 6, 1000):
            backstage.sql("UPDATE pending_deletion SET attempts = $1, next_attempt_at = now()", attempts)
            run_apart(claimed())
            (found,) = backstage.sql("SELECT extract(epoch FROM next_attempt_at - now())::float FROM pending_deletion")
            waits.append(found[0])

        expected = [60, 120, 240, 1920, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]
        assert waits == pytest.approx(expected, abs=30)

    def test_skips_objects_in_another_bucket(self, make_settings: Make, backstage: Backstage) -> None:
        request_deletion(backstage, create_object(backstage, bucket=PREVIOUS))

        async def claimed() -> None:
            async with two_processes(make_settings()) as (one, _):
                assert await one.claim(limit=1) == []
                assert await one.seconds_to_next() is None

        run_apart(claimed())


class TestDeleting:
    def deleted(self, settings: Settings, *refs: ObjectRef) -> list[str]:
        gone: list[str] = []

        async def delete() -> None:
            async with open_resources(settings) as resources:
                gone.extend(await resources.deletions.delete(refs))

        run_apart(delete())
        return gone

    def test_deletes_several_objects_at_once(self, make_settings: Make, backstage: Backstage) -> None:
        refs = [
            request_deletion(backstage, create_object(backstage, key)) for key in ("1.jpg", "1_320.webp", "1_960.webp")
        ]

        assert self.deleted(make_settings(), *refs) == [ref.key for ref in refs]
        assert backstage.objects() == []
        assert pending_keys(backstage) == set()

    def test_counts_an_object_that_does_not_exist_as_gone(
        self, make_settings: Make, backstage: Backstage, store: StoreProxy
    ) -> None:
        ref = request_deletion(backstage, create_object(backstage, bucket=None, location=f"{store.url}/recipes/1.jpg"))
        store.script.follow(Plan(call="DeleteObject", fault=Fault.NO_SUCH_KEY))

        assert self.deleted(make_settings(S3_ENDPOINT_URL=store.url), ref) == ["1.jpg"]
        assert pending_keys(backstage) == set()

    @pytest.mark.parametrize("fault", [Fault.FORBIDDEN, Fault.INTERNAL_ERROR, Fault.RESET], ids=str)
    def test_keeps_a_deletion_pending_if_the_store_fails(
        self, make_settings: Make, backstage: Backstage, store: StoreProxy, fault: Fault
    ) -> None:
        ref = request_deletion(backstage, create_object(backstage, bucket=f"{store.url}/recipes"))
        store.script.follow(Plan(call="DeleteObject", fault=fault, forever=True))

        assert self.deleted(make_settings(S3_ENDPOINT_URL=store.url), ref) == []
        assert backstage.objects() == [ref.key]
        assert pending_keys(backstage) == {ref.key}

    def test_does_not_touch_the_same_key_in_this_bucket_for_another_bucket(
        self, make_settings: Make, backstage: Backstage
    ) -> None:
        ref = request_deletion(backstage, create_object(backstage, bucket=PREVIOUS))

        assert self.deleted(make_settings(), ref) == []
        assert backstage.objects() == [ref.key]
        assert pending_keys(backstage) == {ref.key}

    @pytest.mark.parametrize("is_here", [True, False])
    def test_counts_an_object_in_an_unknown_bucket_as_gone_only_if_it_was_in_this_one(
        self, make_settings: Make, backstage: Backstage, *, is_here: bool
    ) -> None:
        ref = request_deletion(
            backstage, create_object(backstage, bucket=None, location="https://previous-cdn.test/1.jpg")
        )
        if not is_here:
            backstage.s3.delete_object(Bucket=backstage.bucket, Key=ref.key)

        assert self.deleted(make_settings(), ref) == ([ref.key] if is_here else [])
        assert pending_keys(backstage) == (set() if is_here else {ref.key})


class TestRetrying:
    def while_retrying(self, settings: Settings, holds: Callable[[], bool]) -> bool:
        """Return whether the condition becomes true soon after a process has started to retry."""
        result = False

        async def retry() -> None:
            nonlocal result
            async with open_resources(settings) as resources, resources.deletions.retrying():
                result = await asyncio.to_thread(eventually, holds)

        run_apart(retry())
        return result

    def test_deletes_on_start_what_a_process_that_died_has_left(
        self, make_settings: Make, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletions, "BATCH", 2)
        for number in range(5):
            request_deletion(backstage, create_object(backstage, f"{number}.jpg"))
        late = ObjectRef(key="late.jpg", bucket=backstage.bucket_url, location="x")
        backstage.s3.put_object(Bucket=backstage.bucket, Key=late.key, Body=b"x")
        backstage.sql(
            "INSERT INTO pending_deletion VALUES ($1, $2, 'x', now(), 0, now() + interval '2 seconds')",
            *(late.key, late.bucket),
        )

        assert self.while_retrying(make_settings(), lambda: _count(backstage) == 0)
        assert backstage.objects() == []

    @pytest.mark.parametrize("who", ["store", "database"])
    def test_continues_after_an_outage(
        self,
        make_settings: Make,
        backstage: Backstage,
        store: StoreProxy,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        who: str,
    ) -> None:
        monkeypatch.setattr(deletions, "PAUSE_SECONDS", 0.1)
        monkeypatch.setattr(table, "FIRST_WAIT_SECONDS", 0.1)
        request_deletion(backstage, create_object(backstage, bucket=f"{store.url}/recipes"))
        with DatabaseProxy.before(database_url).running() as database:
            plans = {
                "store": [
                    Plan(call="DeleteObject", fault=Fault.FORBIDDEN, nth=nth) for nth in (1, 2)
                ],  # of both clients
                "database": [Plan(call="FORGET", fault=Fault.RESET)],
            }[who]
            (store if who == "store" else database).script.follow(*plans)
            settings = make_settings(S3_ENDPOINT_URL=store.url, DATABASE_URL=database.url)

            assert self.while_retrying(settings, lambda: _count(backstage) == 0)
            assert all(plan.struck == 1 for plan in plans)
        assert backstage.objects() == []

    def test_stops_in_the_middle_of_an_attempt_and_leaves_it_pending(
        self, make_settings: Make, backstage: Backstage, store: StoreProxy
    ) -> None:
        ref = request_deletion(backstage, create_object(backstage, bucket=f"{store.url}/recipes"))
        stalled = Plan(call="DeleteObject", fault=Fault.STALLED, forever=True)
        store.script.follow(stalled)

        assert self.while_retrying(make_settings(S3_ENDPOINT_URL=store.url), stalled.reached.is_set)
        assert pending_keys(backstage) == {ref.key}

    def test_survives_an_unexpected_error(
        self, make_settings: Make, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deletions, "PAUSE_SECONDS", 0.1)
        request_deletion(backstage, create_object(backstage))
        calls = []
        real = PendingDeletions.claim

        async def claim(self: PendingDeletions, *, limit: int) -> list[ObjectRef]:
            calls.append(limit)
            if len(calls) == 1:
                raise ZeroDivisionError
            return await real(self, limit=limit)

        monkeypatch.setattr(PendingDeletions, "claim", claim)

        assert self.while_retrying(make_settings(), lambda: _count(backstage) == 0)


def _count(backstage: Backstage) -> int:
    return len(pending_keys(backstage))


def test_a_process_without_pending_deletions_checks_once_an_hour(make_settings: Make, backstage: Backstage) -> None:
    """A serverless database can sleep in between."""
    assert _count(backstage) == 0

    async def attempted() -> None:
        async with open_resources(make_settings()) as resources:
            assert await resources.deletions.attempt_due() == deletions.IDLE_SECONDS

    run_apart(attempted())
