"""The writer: objects of any size arrive complete, memory is limited, and failures leave nothing."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import PART_SIZE
from recipe_api.storage.body import Body
from recipe_api.storage.budget import BufferBudget
from recipe_api.storage.protocol import Attributes, ObjectStore, Part, PresignedPost, Upload
from recipe_api.storage.s3 import S3Store
from recipe_api.storage.writer import ObjectWriter
from recipe_api.undo import Undo
from tests.support.examples import examples
from tests.support.forms import jpeg
from tests.support.store import ATTRIBUTES, Seen, sdk_store

PART = 1000
"""Small, so that there can be many parts; S3's 5 MiB apply only to completed uploads."""
IN_FLIGHT = 3


class Gate:
    """The real store, which holds parts back and counts them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._open = asyncio.Event()
        self._open.set()
        self.failing_part = 0
        self.travelling = 0
        self.most_travelling = 0
        self.sizes: list[int] = []
        self.bodies: list[Body] = []
        self.arrived = asyncio.Condition()
        self.beginning = asyncio.Event()
        """Until it is set, no multipart upload begins."""
        self.beginning.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def wait_for(self, travelling: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.travelling == travelling)

    def read(self, key: str) -> AsyncGenerator[bytes]:
        return self._store.read(key)

    async def put(self, key: str, body: Body, attributes: Attributes) -> str:
        self.bodies.append(body)
        await self._pass()
        if self.failing_part:
            raise StorageUnavailable("This photo does not arrive.")
        return await self._store.put(key, body, attributes)

    async def create_upload(self, key: str, attributes: Attributes) -> Upload:
        await self.beginning.wait()
        return await self._store.create_upload(key, attributes)

    async def put_part(self, upload: Upload, number: int, body: Body) -> Part:
        self.sizes.append(len(body))
        self.bodies.append(body)
        await self._pass()
        if number == self.failing_part:
            raise StorageUnavailable("This part does not arrive.")
        return await self._store.put_part(upload, number, body)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        await self._pass()
        return await self._store.complete_upload(upload, parts)

    async def abort_upload(self, upload: Upload) -> None:
        await self._store.abort_upload(upload)

    async def abort_uploads(self, key: str, *, but: Upload | None = None) -> None:
        await self._store.abort_uploads(key, but=but)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    async def presigned_post(self, key: str, sizes: range, *, expires_seconds: int) -> PresignedPost:
        return await self._store.presigned_post(key, sizes, expires_seconds=expires_seconds)

    async def presigned_put(self, key: str, size: int, *, expires_seconds: int) -> str:
        return await self._store.presigned_put(key, size, expires_seconds=expires_seconds)

    async def check(self) -> None:
        await self._store.check()

    async def _pass(self) -> None:
        self.travelling += 1
        self.most_travelling = max(self.most_travelling, self.travelling)
        async with self.arrived:
            self.arrived.notify_all()
        try:
            await self._open.wait()
        finally:
            self.travelling -= 1


@pytest.fixture
def gate(store: S3Store) -> Gate:
    return Gate(store)


@pytest.fixture
async def lenient_gate(lenient: Seen) -> Gate:
    await lenient.clear()
    return Gate(sdk_store(lenient.client, lenient.bucket))


@asynccontextmanager
async def writing(
    store: ObjectStore, *, part_size: int = PART, budget: BufferBudget | None = None, parts_in_flight: int = IN_FLIGHT
) -> AsyncIterator[ObjectWriter]:
    undo = Undo()
    try:
        async with ObjectWriter(
            store,
            "a.jpg",
            ATTRIBUTES,
            lease=(budget or BufferBudget(total=20 * part_size, part_size=part_size)).lease(),
            undo=undo,
            part_size=part_size,
            parts_in_flight=parts_in_flight,
        ) as writer:
            yield writer
    finally:
        await undo.close()


@settings(max_examples=examples(40))
@example(sizes=[])
@example(sizes=[PART])
@example(sizes=[PART, 1])
@example(sizes=[PART - 1, 1, PART, PART + 1])
@example(sizes=[5 * PART])
@given(sizes=st.lists(st.integers(1, 3 * PART), max_size=8))
@pytest.mark.slow
async def test_an_object_of_any_size_arrives_complete(lenient: Seen, sizes: list[int]) -> None:
    await lenient.clear()
    gate = Gate(sdk_store(lenient.client, lenient.bucket))
    chunks = [jpeg(size, seed=number) for number, size in enumerate(sizes)]

    async with writing(gate) as writer:
        for chunk in chunks:
            await writer.write(chunk)
        written = await writer.commit()

    assert await lenient.body("a.jpg") == b"".join(chunks)
    assert written.size == sum(sizes)
    assert (await lenient.object("a.jpg"))["ETag"] == f'"{written.etag}"'
    assert await lenient.multipart_uploads() == []
    assert all(size == PART for size in gate.sizes[:-1])
    assert len(gate.sizes) == (0 if written.size <= PART else -(-written.size // PART))
    assert gate.most_travelling <= IN_FLIGHT


async def test_a_stalled_store_stops_the_writer_when_its_parts_are_full(lenient_gate: Gate, lenient: Seen) -> None:
    lenient_gate.close()
    taken = 0

    async def write(writer: ObjectWriter) -> None:
        nonlocal taken
        for _ in range(20):
            await writer.write(jpeg(PART // 2))
            taken += PART // 2

    async with writing(lenient_gate) as writer:
        task = asyncio.create_task(write(writer))
        await lenient_gate.wait_for(IN_FLIGHT)
        for _ in range(100):  # enough turns of the loop for it to continue, if it did
            await asyncio.sleep(0)
        assert taken == (IN_FLIGHT + 1) * PART
        lenient_gate.open()
        await task
        await writer.commit()

    assert lenient_gate.most_travelling == IN_FLIGHT
    assert len(await lenient.body("a.jpg")) == 10 * PART


async def test_an_exhausted_budget_stops_the_writer_too(lenient_gate: Gate, lenient: Seen) -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    free = budget.free

    async with writing(lenient_gate, budget=budget) as writer:
        await writer.write(jpeg(7 * PART))
        await writer.commit()

    assert lenient_gate.most_travelling <= 2
    assert budget.free == free
    assert await lenient.body("a.jpg") == jpeg(7 * PART)


async def test_parts_fill_while_the_multipart_upload_begins(lenient_gate: Gate, lenient: Seen) -> None:
    lenient_gate.beginning.clear()

    async with writing(lenient_gate) as writer:
        await writer.write(jpeg((IN_FLIGHT + 1) * PART))
        assert lenient_gate.sizes == []
        lenient_gate.beginning.set()
        await writer.commit()

    assert await lenient.body("a.jpg") == jpeg((IN_FLIGHT + 1) * PART)


async def test_a_multipart_upload_that_begins_after_a_failure_is_aborted(
    gate: Gate, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Gate, "abort_uploads")  # not needed, because the upload's ID is known
    gate.beginning.clear()

    async def write() -> None:
        async with writing(gate) as writer:
            await writer.write(jpeg(2 * PART))
            asyncio.get_running_loop().call_soon(gate.beginning.set)
            raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await write()

    assert await seen.nothing()


async def test_parts_in_transit_leave_a_quarter_of_the_budget_to_others(lenient_gate: Gate, lenient: Seen) -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)
    lenient_gate.close()

    async with writing(lenient_gate, budget=budget, parts_in_flight=8) as writer:
        task = asyncio.create_task(writer.write(jpeg(12 * PART)))
        await lenient_gate.wait_for(6)
        for _ in range(100):  # enough turns of the loop for it to continue, if it did
            await asyncio.sleep(0)
        assert budget.free == 2 * PART
        assert budget.waiting == (0, 0)
        lenient_gate.open()
        await task
        await writer.commit()

    assert lenient_gate.most_travelling == 6
    assert await lenient.body("a.jpg") == jpeg(12 * PART)


@pytest.mark.parametrize("size", [PART_SIZE, PART_SIZE + 1, 3 * PART_SIZE + 7])
async def test_a_store_that_enforces_s3s_minimum_accepts_parts_of_the_real_size(
    store: S3Store, seen: Seen, size: int
) -> None:
    photo = jpeg(size)

    async with writing(store, part_size=PART_SIZE) as writer:
        for start in range(0, size, 1_000_003):
            await writer.write(photo[start : start + 1_000_003])
        await writer.commit()

    assert await seen.body("a.jpg") == photo
    assert await seen.multipart_uploads() == []


@pytest.mark.parametrize("failing_part", [1, 2, 5])
async def test_a_failed_part_undoes_everything(gate: Gate, seen: Seen, failing_part: int) -> None:
    gate.failing_part = failing_part
    budget = BufferBudget(total=20 * PART, part_size=PART)
    free = budget.free

    async def write() -> None:
        async with writing(gate, budget=budget) as writer:
            for number in range(10):
                await writer.write(jpeg(PART, seed=number))
            await writer.commit()

    with pytest.raises(StorageUnavailable, match="does not arrive"):
        await write()

    assert await seen.nothing()
    assert budget.free == free


@pytest.mark.parametrize("size", [PART, 3 * PART + 1], ids=["one PUT", "parts"])
@pytest.mark.parametrize("commits", [False, True], ids=["left", "committed"])
@pytest.mark.parametrize("failing_part", [0, 1])
async def test_a_body_is_cleared_when_its_memory_is_released(
    lenient_gate: Gate, monkeypatch: pytest.MonkeyPatch, size: int, failing_part: int, *, commits: bool
) -> None:
    bodies: list[Body] = []

    def made() -> Body:
        bodies.append(Body())
        return bodies[-1]

    monkeypatch.setattr("recipe_api.storage.writer.Body", made)
    lenient_gate.failing_part = failing_part
    failures: list[StorageUnavailable] = []  # with their tracebacks, and everything that these refer to
    try:
        async with writing(lenient_gate) as writer:
            for start in range(0, size, PART):
                await writer.write(jpeg(size)[start : start + PART])
            if commits:
                await writer.commit()
    except StorageUnavailable as failure:
        failures.append(failure)

    assert len(failures) == bool(failing_part and (commits or size > PART))
    assert bodies
    assert set(map(id, lenient_gate.bodies)) <= set(map(id, bodies))
    assert [b"".join(body.blocks()) for body in bodies] == [b""] * len(bodies)


@pytest.mark.parametrize("waits_for", ["a slot", "the beginning"])
async def test_an_upload_fails_if_the_store_misses_the_deadline(gate: Gate, seen: Seen, waits_for: str) -> None:
    loop = asyncio.get_running_loop()
    if waits_for == "the beginning":
        gate.beginning.clear()
        loop.call_later(0.1, gate.beginning.set)
    else:
        gate.close()

    async def write() -> None:
        async with writing(gate) as writer:
            await writer.write(jpeg(9 * PART), until=loop.time() + 0.05)

    with pytest.raises(StorageUnavailable, match="too long"):
        await write()

    assert await seen.nothing()


@pytest.mark.parametrize("size", [10, PART, PART + 1, 5 * PART])
async def test_an_uncommitted_object_is_undone(store: S3Store, seen: Seen, size: int) -> None:
    async with writing(store) as writer:
        await writer.write(jpeg(size))

    assert await seen.nothing()


@pytest.mark.parametrize("size", [10, 5 * PART])
async def test_an_error_inside_the_block_is_raised_unchanged(store: S3Store, seen: Seen, size: int) -> None:
    async def write() -> None:
        async with writing(store) as writer:
            await writer.write(jpeg(size))
            raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await write()

    assert await seen.nothing()


@pytest.mark.parametrize(("size", "travelling"), [(PART // 2, 1), (PART + 1, 2), (9 * PART, IN_FLIGHT)])
async def test_a_cancellation_undoes_everything(gate: Gate, seen: Seen, size: int, travelling: int) -> None:
    gate.close()

    async def write() -> None:
        async with writing(gate) as writer:
            await writer.write(jpeg(size))
            await writer.commit()

    task = asyncio.create_task(write())
    await gate.wait_for(travelling)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await seen.nothing()
