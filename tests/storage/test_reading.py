"""Reading and deleting through `S3Store`, by our own requests and through aioboto3: the same results and errors."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import Settings
from recipe_api.storage import connection, retries
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.s3 import S3Store
from recipe_api.uploads.piece_reader import read_pieces
from recipe_api.uploads.pieces import Piece
from tests.support.fault_proxy import StoreProxy
from tests.support.log import lines_logged
from tests.support.proxy import Fault, Plan
from tests.support.store import Seen

SIZE = 3_000_000
BODY = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
REPEATED = "repeating the request through aioboto3"
TRANSIENT = [Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.RESET, Fault.RESPONSE_LOST]


@pytest.fixture(params=["our requests", "aioboto3"])
async def opened(
    request: pytest.FixtureRequest,
    make_settings: Callable[..., Settings],
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[S3Store, StoreProxy]]:
    """A store behind a proxy that injects faults."""
    await seen.clear()
    await seen.client.put_object(Bucket=seen.bucket, Key="a.jpg", Body=BODY)
    short = replace(retries.STORE_POLICY, waits_seconds=(0.01, 0.01), jitter_seconds=0)
    monkeypatch.setattr(retries, "STORE_POLICY", short)
    monkeypatch.setattr(connection, "CONNECTIONS", 1)
    if request.param == "aioboto3":
        monkeypatch.setattr(connection, "open_signed_requests", _none)
    settings = make_settings()
    with StoreProxy.before(settings.s3_endpoint_url or "").running() as proxy:
        async with open_s3_store(make_settings(S3_ENDPOINT_URL=proxy.url)) as (store, _):
            yield store, proxy


@asynccontextmanager
async def _none(*_: object, **__: object) -> AsyncIterator[None]:
    yield None


async def read(store: S3Store, key: str = "a.jpg") -> bytes:
    async with aclosing(store.read(key)) as chunks:
        return b"".join([chunk async for chunk in chunks])


class TestReading:
    async def test_yields_the_whole_object_and_repeats_nothing(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, proxy = opened
        with lines_logged() as log:
            assert await read(store) == BODY

        assert proxy.script.calls == ["GetObject"]
        assert not log.events(REPEATED)

    @pytest.mark.parametrize("fault", TRANSIENT)
    async def test_is_repeated_after_a_transient_fault(self, opened: tuple[S3Store, StoreProxy], fault: Fault) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="GetObject", fault=fault))

        assert await read(store) == BODY
        assert proxy.script.calls == ["GetObject"] * 2

    async def test_is_repeated_only_a_few_times(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="GetObject", fault=Fault.INTERNAL_ERROR, forever=True))

        with pytest.raises(StorageUnavailable):
            await read(store)
        assert proxy.script.calls == ["GetObject"] * 3

    async def test_fails_if_the_object_ends_early(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="GetObject", fault=Fault.RESPONSE_TRUNCATED))
        with pytest.raises(StorageUnavailable):
            await read(store)
        assert proxy.script.calls == ["GetObject"], "must not be retried, because what was read cannot be taken back"
        assert await read(store) == BODY

    async def test_fails_if_there_is_no_such_object(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, _ = opened
        with pytest.raises(StorageUnavailable) as raised:
            await read(store, "missing.jpg")
        assert "NoSuchKey" in str(raised.value.__cause__)

    async def test_explains_a_rejection_by_its_code(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="GetObject", fault=Fault.FORBIDDEN, forever=True))
        with pytest.raises(StorageUnavailable) as raised:
            await read(store)
        assert "access key" in raised.value.reason

    async def test_can_end_early(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, _ = opened
        for _ in range(3):  # with one connection
            async with aclosing(store.read("a.jpg")) as chunks:
                assert BODY.startswith(await anext(chunks))
        assert await read(store) == BODY

    @pytest.mark.parametrize("begun", [False, True])
    async def test_can_be_cancelled(self, opened: tuple[S3Store, StoreProxy], *, begun: bool) -> None:
        store, proxy = opened
        plan = Plan(call="GetObject", fault=Fault.HELD)
        first = asyncio.Event()

        async def reading() -> None:
            async with aclosing(store.read("a.jpg")) as chunks:
                await anext(chunks)
                first.set()
                await asyncio.Event().wait()

        proxy.script.follow(*([] if begun else [plan]))
        task = asyncio.create_task(reading())
        await (first.wait() if begun else asyncio.to_thread(plan.reached.wait, 60))
        task.cancel()
        await asyncio.wait({task})
        plan.gate.set()

        assert task.cancelled()
        assert await read(store) == BODY, "the only connection should be free"

    async def test_of_pieces_in_parallel_can_end_early(self, opened: tuple[S3Store, StoreProxy], seen: Seen) -> None:
        store, _ = opened
        keys = ["1.part", "2.part", "3.part"]
        for key in keys:
            await seen.client.put_object(Bucket=seen.bucket, Key=key, Body=BODY[:1000])
        pieces = [Piece(number=number, size=1000, key=key) for number, key in enumerate(keys, 1)]
        async with aclosing(read_pieces(store, pieces)) as chunks:
            assert await anext(chunks)

        assert await read(store) == BODY


class TestDeleting:
    async def test_deletes_an_object_once_and_accepts_a_missing_one(
        self, opened: tuple[S3Store, StoreProxy], seen: Seen
    ) -> None:
        store, proxy = opened
        for _ in range(2):
            await store.delete("a.jpg")

        assert await seen.nothing()
        assert proxy.script.calls == ["DeleteObject"] * 2

    @pytest.mark.parametrize("fault", [*TRANSIENT, Fault.RESPONSE_TRUNCATED])
    async def test_is_repeated_after_a_transient_fault(
        self, opened: tuple[S3Store, StoreProxy], seen: Seen, fault: Fault
    ) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="DeleteObject", fault=fault))
        await store.delete("a.jpg")

        assert proxy.script.calls == ["DeleteObject"] * 2
        assert await seen.nothing()

    async def test_accepts_an_object_that_the_store_reports_missing(self, opened: tuple[S3Store, StoreProxy]) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="DeleteObject", fault=Fault.NO_SUCH_KEY, forever=True))
        await store.delete("a.jpg")

    @pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.FORBIDDEN])
    async def test_fails_if_the_object_may_still_exist(self, opened: tuple[S3Store, StoreProxy], fault: Fault) -> None:
        store, proxy = opened
        proxy.script.follow(Plan(call="DeleteObject", fault=fault, forever=True))
        with pytest.raises(StorageUnavailable):
            await store.delete("a.jpg")
