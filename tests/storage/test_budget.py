"""The memory that uploads share: never more than there is, nobody waits for ever, nobody's slowness is another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from recipe_api.errors import ServiceFull
from recipe_api.settings import KIB, MIB
from recipe_api.storage.budget import SMALL, BufferBudget, Lease
from tests.support.virtual_time import run_in_virtual_time

PART = 1 * MIB


async def turns(count: int = 5) -> None:
    """Lets whatever can go on go on: a grant takes one turn of the loop to be noticed."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def asking(lease: Lease) -> AsyncIterator[asyncio.Task[int]]:
    """A lease that asks for room for a part, within the block."""
    task = asyncio.create_task(lease.next_part())
    try:
        await turns()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def holding(budget: BufferBudget, *, at_most: int | None = None) -> Lease:
    """A lease with room for a part, which must be there at once."""
    lease = budget.lease(at_most=at_most)
    async with asking(lease) as asked:
        assert asked.done()
    return lease


def test_it_holds_two_parts_at_least() -> None:
    with pytest.raises(ValueError, match="two parts"):
        BufferBudget(total=2 * PART - 1, part_size=PART)


class Told:
    """A window that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[int | str] = []

    def widen(self, size: int) -> None:
        self.told.append(size)

    def shut(self) -> None:
        self.told.append("shut")


async def test_a_window_is_widened_by_what_is_granted_when_it_is_granted_and_shut_at_the_end() -> None:
    budget, window = BufferBudget(total=2 * PART, part_size=PART), Told()
    other = await holding(budget)
    lease = budget.lease(at_most=PART + 300, window=window)

    async with asking(lease) as first:
        assert window.told == []
        other.close()
        assert await first == PART
    assert window.told == [PART]

    lease.send_off(PART)
    assert await lease.next_part() == 300
    lease.close()
    assert window.told == [PART, 300, "shut"]


async def test_room_is_for_a_whole_part_or_for_all_that_can_come() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)

    assert await budget.lease().next_part() == PART
    assert await budget.lease(at_most=300).next_part() == 300
    large = budget.lease(at_most=PART + 1)
    assert await large.next_part() == PART
    large.send_off(PART)
    assert await large.next_part() == 1
    assert budget.free == 6 * PART - 301
    with pytest.raises(ValueError, match="announced"):
        await large.next_part()


async def test_room_that_a_part_did_not_use_is_free_when_it_is_sent() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    lease = await holding(budget)

    lease.send_off(1000)

    assert budget.free == 2 * PART - 1000
    lease.arrived(1000)
    assert budget.free == 2 * PART


def test_who_waits_for_too_long_is_told_to_come_again() -> None:
    async def wait() -> None:
        budget = BufferBudget(total=2 * PART, part_size=PART)
        held = await holding(budget)
        with pytest.raises(ServiceFull):
            await budget.lease().next_part()
        held.close()
        assert budget.free == 2 * PART
        await holding(budget)

    run_in_virtual_time(wait())


async def test_who_waits_goes_on_when_a_part_has_arrived() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    first = await holding(budget)
    async with asking(budget.lease()) as second:
        assert not second.done()  # an eighth is left to small photos
        first.send_off(PART)
        await turns()
        assert not second.done()
        first.arrived(PART)
        await turns()
        assert second.done()


async def test_a_client_that_stops_keeps_no_other_from_going_on() -> None:
    budget = BufferBudget(total=4 * PART, part_size=PART)
    await holding(budget)  # and nothing ever comes of it

    for _ in range(50):
        other = await holding(budget)
        other.send_off(PART)
        other.arrived(PART)
        other.close()


async def test_small_photos_pass_by_the_large_ones_that_wait() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)
    for _ in range(7):
        await holding(budget)
    async with asking(budget.lease()) as large, asking(budget.lease(at_most=None)) as unannounced:
        await holding(budget, at_most=SMALL)
        await holding(budget, at_most=SMALL)
        assert not large.done()
        assert not unannounced.done()


async def test_an_eighth_stays_free_for_the_small_and_counts_what_they_have() -> None:
    budget = BufferBudget(total=8 * PART, part_size=PART)
    for _ in range(2):
        await holding(budget, at_most=SMALL)  # their eighth is in use, so it need not be kept
    for _ in range(7):
        await holding(budget)
    assert budget.free == 0


async def test_the_small_do_not_starve_the_large() -> None:
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


async def test_of_those_who_wait_the_upload_that_began_first_goes_first() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    holder = await holding(budget)
    early, late = budget.lease(), budget.lease()
    async with asking(late) as second, asking(early) as first:
        holder.close()
        await turns()
        assert first.done()
        assert not second.done()


async def test_whoever_gives_up_waiting_takes_nothing_along() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    holder = await holding(budget)
    async with asking(budget.lease()) as gone:
        assert not gone.done()

    holder.close()

    assert budget.free == 2 * PART


async def test_room_that_came_together_with_a_cancellation_is_not_lost() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    holder = await holding(budget)
    async with asking(budget.lease()) as cancelled:
        holder.close()  # grants it, and before it can notice:
        cancelled.cancel()
        await turns()
        assert cancelled.cancelled()

    assert budget.free == 2 * PART


async def test_when_the_first_gives_up_the_next_may_fit_in() -> None:
    budget = BufferBudget(total=2 * PART, part_size=PART)
    await holding(budget)
    async with asking(budget.lease()) as wants_much, asking(budget.lease(at_most=SMALL + 1)) as wants_less:
        assert not wants_less.done()
        wants_much.cancel()
        await turns()
        assert wants_less.done()


async def test_the_small_have_no_bound_again_when_the_large_give_up() -> None:
    budget = BufferBudget(total=4 * PART, part_size=PART)
    await holding(budget)
    await holding(budget, at_most=SMALL + 2)
    async with asking(budget.lease(at_most=SMALL)) as small:
        assert small.done()
    for _ in range(3):
        await holding(budget, at_most=SMALL)
    async with asking(budget.lease()) as large, asking(budget.lease(at_most=100)) as one_more:
        assert not large.done()
        assert not one_more.done()  # there is room, but half of all is with the small
        large.cancel()
        await turns()
        assert one_more.done()


class Schedules(RuleBasedStateMachine):
    """Any order of asking, sending, arriving, giving up and closing."""

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

    @rule(target=leases, at_most=st.none() | st.integers(1, 4 * PART) | st.integers(1, 50 * KIB))
    def open(self, at_most: int | None) -> Lease:
        lease = self.budget.lease(at_most=at_most)
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
            lease.send_off(size)
            self.travelling.append((lease, size))
        self._settle()

    @precondition(lambda self: self.travelling)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        lease, size = self.travelling.pop(data.draw(st.integers(0, len(self.travelling) - 1)))
        lease.arrived(size)
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
        """What waits at the end goes on to its own end, however slow, as long as what travels arrives."""
        if not hasattr(self, "budget"):
            return
        for _ in range(len(self.known) + 1):
            for lease, size in self.travelling:
                lease.arrived(size)
            self.travelling = []
            self._settle()
            for lease in self.known:
                if lease.held:
                    self._send_all(lease)
        assert not self.asking, "a deadlock"
        for lease in self.known:
            lease.close()
        for lease, size in self.travelling:
            lease.arrived(size)
        assert self.budget.free == self.total
        self.runner.close()

    def _send_all(self, lease: Lease) -> None:
        self.travelling.append((lease, lease.held))
        lease.send_off(lease.held)

    def _start(self, lease: Lease) -> asyncio.Task[int]:
        async def start() -> asyncio.Task[int]:
            return asyncio.create_task(lease.next_part())

        return self.runner.run(start())

    def _settle(self) -> None:
        self.runner.run(turns())
        for lease, task in list(self.asking.items()):
            if task.done():
                self.left[lease] -= task.result()
                del self.asking[lease]


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
