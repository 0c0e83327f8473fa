"""The memory budget: it is never exceeded, no upload waits for ever, and slow clients do not slow others."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from recipe_api.errors import ServiceFull
from recipe_api.storage.budget import CONTENDED_PARTS, SMALL, WAIT_SECONDS, BufferBudget, Lease
from recipe_api.units import KIB, MIB
from tests.support.examples import examples
from tests.support.virtual_time import run_in_virtual_time

PART = 1 * MIB


async def turns(count: int = 5) -> None:
    """Let tasks continue: a grant takes one iteration of the event loop to arrive."""
    for _ in range(count):
        await asyncio.sleep(0)


async def next_part(lease: Lease) -> int:
    await lease.pause()
    return await lease.next_part()


@asynccontextmanager
async def asking(lease: Lease) -> AsyncIterator[asyncio.Task[int]]:
    """Yield a lease that requests memory for a part as a writer does, within the block."""
    task = asyncio.create_task(next_part(lease))
    try:
        await turns()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def holding(
    budget: BufferBudget, *, at_most: int | None = None, client: str | None = None, arrival: "Paced | None" = None
) -> Lease:
    """Return a lease with memory for a part, which must be free."""
    lease = budget.lease(at_most=at_most, clients=(client,) if client else (), arrival=arrival)
    async with asking(lease) as asked:
        assert asked.done()
    return lease


async def test_clients_that_have_gone_take_no_memory() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)

    async def come_and_go(*numbers: int) -> None:
        for number in numbers:
            lease = budget.lease(clients=(f"192.0.2.{number}", f"token {number}"))
            await lease.next_part()
            lease.close()

    await come_and_go(*range(100))
    tracemalloc.start()
    try:
        await come_and_go(*range(100, 1100))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert budget.free == 8 * PART
    assert grown < 20 * KIB  # 70 bytes or more for each of 2,000 keys would be 140


def test_a_budget_must_hold_at_least_two_parts() -> None:
    with pytest.raises(ValueError, match="two parts"):
        BufferBudget(total=2 * PART - 1, part_size=PART)


class RecordedReadAhead:
    """A read-ahead that records its calls."""

    def __init__(self) -> None:
        self.calls: list[int | str] = []

    def allow(self, size: int) -> None:
        self.calls.append(size)

    def stop(self) -> None:
        self.calls.append("stop")


async def test_each_grant_allows_more_to_be_read_ahead_and_close_stops_it() -> None:
    budget, read_ahead = BufferBudget(total=2 * PART, part_size=PART), RecordedReadAhead()
    other = await holding(budget)
    lease = budget.lease(at_most=PART + 300, read_ahead=read_ahead)

    async with asking(lease) as first:
        assert read_ahead.calls == []
        other.close()
        assert await first == PART
    assert read_ahead.calls == [PART]

    lease.mark_in_transit(PART)
    assert await lease.next_part() == 300
    lease.close()
    assert read_ahead.calls == [PART, 300, "stop"]


async def test_a_lease_acquires_a_whole_part_or_the_rest_of_the_upload() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)

    assert await budget.lease().next_part() == PART
    assert await budget.lease(at_most=300).next_part() == 300
    large = budget.lease(at_most=PART + 1)
    assert await large.next_part() == PART
    large.mark_in_transit(PART)
    assert await large.next_part() == 1
    assert budget.free == 6 * PART - 301
    with pytest.raises(ValueError, match="announced"):
        await large.next_part()


async def test_memory_that_a_part_did_not_use_is_released_when_it_is_sent() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    lease = await holding(budget)

    lease.mark_in_transit(1000)

    assert budget.free == 2 * PART - 1000
    lease.mark_arrived(1000)
    assert budget.free == 2 * PART


def test_an_upload_that_waits_too_long_is_rejected() -> None:
    async def wait() -> None:
        budget = BufferBudget(total=2 * PART, part_size=PART)
        held = await holding(budget)
        with pytest.raises(ServiceFull):
            await budget.lease().next_part()
        held.close()
        assert budget.free == 2 * PART
        await holding(budget)

    run_in_virtual_time(wait())


async def test_a_waiting_upload_continues_when_a_part_has_arrived() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    first = await holding(budget)
    async with asking(budget.lease()) as second:
        assert not second.done()  # an eighth is left to small photos
        first.mark_in_transit(PART)
        await turns()
        assert not second.done()
        first.mark_arrived(PART)
        await turns()
        assert second.done()


async def test_a_client_that_stops_does_not_block_others() -> None:
    budget = BufferBudget(total=4 * PART, part_size=PART)
    await holding(budget)  # and never continues

    for _ in range(50):
        other = await holding(budget)
        other.mark_in_transit(PART)
        other.mark_arrived(PART)
        other.close()


async def test_small_photos_overtake_large_ones_that_wait() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)
    for _ in range(7):
        await holding(budget)
    async with asking(budget.lease()) as large, asking(budget.lease(at_most=None)) as unannounced:
        await holding(budget, at_most=SMALL)
        await holding(budget, at_most=SMALL)
        assert not large.done()
        assert not unannounced.done()


async def test_an_eighth_is_reserved_for_small_photos_including_what_they_hold() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)
    for _ in range(2):
        await holding(budget, at_most=SMALL)  # their eighth is in use, so it need not be reserved
    for _ in range(7):
        await holding(budget)
    assert budget.free == 0


async def test_small_photos_do_not_starve_large_ones() -> None:
    budget = BufferBudget(total=4 * PART, part_size=PART)
    small = [await holding(budget, at_most=SMALL) for _ in range(8)]
    assert budget.free == 0
    async with AsyncExitStack() as waiting:
        large = await waiting.enter_async_context(asking(budget.lease()))
        for lease in small:  # as one is done, the next is there
            _ = await waiting.enter_async_context(asking(budget.lease(at_most=SMALL)))
            lease.close()
            await turns()
            if large.done():
                break
        assert large.done()


async def test_the_upload_that_began_first_has_priority() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    holder = await holding(budget)
    early, late = budget.lease(), budget.lease()
    async with asking(late) as second, asking(early) as first:
        holder.close()
        await turns()
        assert first.done()
        assert not second.done()


async def test_a_later_lease_of_an_upload_keeps_its_turn() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    began = budget.lease()
    first = await holding(budget)
    async with asking(budget.lease()) as other, asking(budget.lease(turn=began.turn)) as continued:
        first.close()
        await turns()
        assert continued.done()
        assert not other.done()


async def test_a_cancelled_wait_acquires_nothing() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    holder = await holding(budget)
    async with asking(budget.lease()) as gone:
        assert not gone.done()

    holder.close()

    assert budget.free == 2 * PART


async def test_memory_granted_together_with_a_cancellation_is_not_lost() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    holder = await holding(budget)
    async with asking(budget.lease()) as cancelled:
        holder.close()  # grants it, and before it can notice:
        cancelled.cancel()
        await turns()
        assert cancelled.cancelled()

    assert budget.free == 2 * PART


async def test_when_the_first_is_cancelled_the_next_may_get_its_memory() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    await holding(budget)
    async with asking(budget.lease()) as wants_much, asking(budget.lease(at_most=SMALL + 1)) as wants_less:
        assert not wants_less.done()
        wants_much.cancel()
        await turns()
        assert wants_less.done()


async def test_small_photos_are_unlimited_again_when_no_large_one_waits() -> None:
    budget = BufferBudget(total=4 * PART, part_size=PART)
    await holding(budget)
    await holding(budget, at_most=SMALL + 2)
    async with asking(budget.lease(at_most=SMALL)) as small:
        assert small.done()
    for _ in range(3):
        await holding(budget, at_most=SMALL)
    async with asking(budget.lease()) as large, asking(budget.lease(at_most=100)) as one_more:
        assert not large.done()
        assert not one_more.done()  # memory is free, but small photos hold half of the total
        large.cancel()
        await turns()
        assert one_more.done()


async def test_a_client_with_a_quarter_of_the_memory_leaves_the_last_quarter_to_others() -> None:
    budget = BufferBudget(total=64 * SMALL, part_size=2 * SMALL)
    held = [await holding(budget, at_most=SMALL, client="a") for _ in range(48)]
    async with asking(budget.lease(at_most=SMALL, clients=("a",))) as more:
        assert not more.done()
        for _ in range(2):  # an upload that waits because of its own client blocks no other, small or large
            await holding(budget, at_most=SMALL, client="b")
        await holding(budget, client="b")
        async with asking(budget.lease(at_most=SMALL, clients=("b", "a"))) as by_token:
            assert not by_token.done()

        for lease in held[:5]:
            lease.close()
        await turns()
        assert more.done()


async def test_one_client_may_always_have_one_part() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    first = await holding(budget, client="a")
    first.mark_in_transit(PART)
    async with asking(budget.lease(clients=("a",))) as second:
        assert not second.done()
        first.mark_arrived(PART)
        await turns()
        assert second.done()


async def send_parts(lease: Lease) -> int:
    """Send as many parts as the lease gets memory for, to a store that does not respond; return how many."""
    count = 0
    while True:
        async with asking(lease) as part:
            if not part.done():
                return count
            lease.mark_in_transit(part.result())
            count += 1


async def test_an_upload_may_have_many_parts_as_long_as_a_quarter_of_the_memory_stays_free() -> None:
    budget = BufferBudget(total=12 * PART, part_size=PART)
    lease = budget.lease(clients=("a",))

    assert await send_parts(lease) == 9
    async with asking(lease) as more:
        assert budget.waiting == (0, 0)  # it waits for the store, and not for memory
        await holding(budget, client="b")
        small = await holding(budget, at_most=SMALL, client="b")
        lease.mark_arrived(PART)
        await turns()
        assert not more.done()
        small.close()
        lease.mark_arrived(PART)
        await turns()
        assert more.done()


@pytest.mark.parametrize("client", ["a", "b"], ids=["same client", "another client"])
async def test_an_upload_with_many_parts_gets_no_more_while_another_one_waits(client: str) -> None:
    budget = BufferBudget(total=12 * PART, part_size=PART)
    early, late = budget.lease(clients=("a",)), budget.lease(clients=(client,))
    in_transit = await send_parts(early)
    async with asking(early) as more:
        for _ in range(CONTENDED_PARTS):
            async with asking(late) as part:
                while not part.done():
                    assert in_transit
                    early.mark_arrived(PART)
                    in_transit -= 1
                    await turns()
                late.mark_in_transit(part.result())
            assert not more.done()
        assert in_transit >= CONTENDED_PARTS


@dataclass
class Paced:
    """An arrival with a given rate."""

    bytes_per_second: float
    is_slow: bool = True
    received: int = 0
    lease: Lease | None = None
    is_given_up: bool = False

    def give_up(self) -> None:
        self.is_given_up = True
        self.is_slow = False
        if self.lease is not None:
            self.lease.close()


def test_while_others_wait_the_slowest_uploads_are_given_up_until_there_is_enough() -> None:
    async def wait() -> None:
        budget = BufferBudget(total=64 * SMALL, part_size=4 * SMALL)
        paces = [Paced(pace, is_slow=pace != 1) for pace in range(64)]
        for pace in paces:
            pace.lease = await holding(budget, at_most=SMALL, client=f"{pace}", arrival=pace)
        assert budget.free == 0

        assert await budget.lease(at_most=2 * SMALL, clients=("other",)).next_part() == 2 * SMALL

        # Large photos leave an eighth to small ones, which already hold more than that.
        assert [pace.bytes_per_second for pace in paces if pace.is_given_up] == [0, 2]

    run_in_virtual_time(wait())


def test_no_upload_is_given_up_for_a_client_that_has_its_share() -> None:
    async def wait() -> None:
        budget = BufferBudget(total=64 * SMALL, part_size=4 * SMALL)
        paces = [Paced(pace) for pace in range(48)]
        for pace in paces:
            await holding(budget, at_most=SMALL, client="a", arrival=pace)

        with pytest.raises(ServiceFull):
            await budget.lease(at_most=SMALL, clients=("a",)).next_part()

        assert not any(pace.is_given_up for pace in paces)

    run_in_virtual_time(wait())


def test_an_upload_whose_part_is_in_transit_is_not_given_up() -> None:
    async def wait() -> None:
        budget = BufferBudget(total=2 * PART, part_size=PART)
        sent, filling = Paced(1), Paced(2)
        travelling = await holding(budget, arrival=sent)
        travelling.mark_in_transit(PART)
        filling.lease = await holding(budget, at_most=SMALL, arrival=filling)

        async with asking(budget.lease()):
            await asyncio.sleep(WAIT_SECONDS / 2)

        assert (sent.is_given_up, filling.is_given_up) == (False, True)

    run_in_virtual_time(wait())


class Schedules(RuleBasedStateMachine):
    """Any order of requesting, sending, arriving, cancelling and closing."""

    leases = Bundle("leases")

    @initialize(parts=st.integers(2, 10), odd=st.integers(0, PART))
    def begin(self, parts: int, odd: int) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.total = parts * PART + odd
        self.budget = BufferBudget(total=self.total, part_size=PART)
        self.asking: dict[Lease, asyncio.Task[int]] = {}
        self.travelling: list[tuple[Lease, int]] = []
        self.known: list[Lease] = []
        self.left: dict[Lease, int] = {}

    @rule(
        target=leases,
        at_most=st.none() | st.integers(1, 4 * PART) | st.integers(1, 50 * KIB),
        clients=st.sampled_from([(), ("address",), ("address", "token"), ("other address", "token")]),
    )
    def open(self, at_most: int | None, clients: tuple[str, ...]) -> Lease:
        lease = self.budget.lease(at_most=at_most, clients=clients)
        self.known.append(lease)
        self.left[lease] = 10 * PART if at_most is None else at_most
        return lease

    @rule(lease=leases)
    def ask(self, lease: Lease) -> None:
        if lease not in self.asking and not lease.held and self.left[lease]:
            self.asking[lease] = self._start(lease)
        self._settle()

    @rule(lease=leases, share=st.floats(0, 1))
    def send(self, lease: Lease, share: float) -> None:
        if lease.held:
            size = round(lease.held * share)
            lease.mark_in_transit(size)
            self.travelling.append((lease, size))
        self._settle()

    @precondition(lambda self: self.travelling)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        lease, size = self.travelling.pop(data.draw(st.integers(0, len(self.travelling) - 1)))
        lease.mark_arrived(size)
        self._settle()

    @rule(lease=leases, settled=st.booleans())
    def give_up(self, lease: Lease, *, settled: bool) -> None:
        if task := self.asking.pop(lease, None):
            task.cancel()
            if settled:
                self._settle()
        self._settle()

    @rule(lease=consumes(leases))
    def close(self, lease: Lease) -> None:
        if task := self.asking.pop(lease, None):
            task.cancel()
            self._settle()
        self.known.remove(lease)
        lease.close()
        self._settle()

    @invariant()
    def every_byte_is_somewhere(self) -> None:
        if not hasattr(self, "budget"):
            return
        held = sum(lease.held for lease in self.known)
        travelling = sum(size for _, size in self.travelling)
        assert self.budget.free >= 0
        assert self.budget.free + held + travelling == self.total

    def teardown(self) -> None:
        """Uploads that wait at the end finish, however slow, as long as parts in transit arrive."""
        if not hasattr(self, "budget"):
            return
        for _ in range(len(self.known) + 1):
            for lease, size in self.travelling:
                lease.mark_arrived(size)
            self.travelling = []
            self._settle()
            for lease in self.known:
                if lease.held:
                    self._send_all(lease)
        assert not self.asking, "a deadlock"
        for lease in self.known:
            lease.close()
        for lease, size in self.travelling:
            lease.mark_arrived(size)
        assert self.budget.free == self.total
        self.runner.close()

    def _send_all(self, lease: Lease) -> None:
        self.travelling.append((lease, lease.held))
        lease.mark_in_transit(lease.held)

    def _start(self, lease: Lease) -> asyncio.Task[int]:
        async def start() -> asyncio.Task[int]:
            return asyncio.create_task(next_part(lease))

        return self.runner.run(start())

    def _settle(self) -> None:
        self.runner.run(turns())
        for lease, task in list(self.asking.items()):
            if task.done():
                self.left[lease] -= task.result()
                del self.asking[lease]


TestSchedules = pytest.mark.slow(Schedules.TestCase)
TestSchedules.settings = settings(max_examples=examples(150), stateful_step_count=40)
