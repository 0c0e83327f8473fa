"""The memory budget for the buffers of one process, and the order in which uploads get it.

A part is sent when it is full, so it needs its memory until then. An upload's *lease* therefore acquires the memory of
a whole part before the part's first byte: 5 MiB, or less if the request's length is less. An upload that waits holds
nothing, and one that holds memory waits for no other: there is no deadlock. A full budget slows the clients' sockets,
and an upload that has waited for `WAIT_SECONDS` is rejected. A part's memory is released when the store has responded.

Small photos do not queue behind large ones. An eighth of the memory is reserved for them, and they have priority for
whatever becomes free; while large ones wait, the small ones get at most half. Within each class, the upload that began
first has priority, so that some finish early rather than all late.

The farther the store, the more parts an upload must have in transit to be fast. So it may have more than
`CONTENDED_PARTS`, as long as a quarter of the memory stays free for others. Otherwise it *pauses* until its own parts
have arrived: it waits for the store rather than in the queue, so the uploads in the queue come first.

A slow client keeps its memory for as long as it sends, within limits, so two more rules keep it from blocking others. A
client that has a quarter of the memory leaves the last quarter to others. And while others wait, the slowest uploads
that hold memory are given up, once they have had their fair time.

Considerations: counting single bytes would admit more uploads at once, but then a hundred clients of a mobile network
would fill all memory with incomplete parts, of which only one at a time could continue (docs/benchmarks.md, "Who waits
for memory"). A body without `Content-Length` counts as large.
"""

import asyncio
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from recipe_api.errors import ServiceFull
from recipe_api.read_ahead import ReadAhead
from recipe_api.units import KIB

SMALL = 512 * KIB
"""The largest body, in bytes, that counts as small: most photos on web pages do."""
WAIT_SECONDS = 50
"""How long an upload waits for memory. Meanwhile the service cannot notice that the client has disconnected, and
Heroku's router closes a connection that is idle for 55 s."""
LOOK_SECONDS = 0.5
"""The interval of looking for slow uploads while others wait for memory."""
CONTENDED_PARTS = 3
"""The number of parts that an upload may have however little memory is free: one that fills and two in transit. For
more, a quarter of the memory must stay free."""


class Arrival(Protocol):
    """The arrival of the bytes of an upload."""

    @property
    def is_slow(self) -> bool:
        """Whether the process waits for the client, which has had its fair time and sent less than the fair rate."""

    @property
    def bytes_per_second(self) -> float:
        """The client's average rate while the process waited for it."""

    @property
    def received(self) -> int:
        """The number of bytes that have arrived."""

    def give_up(self) -> None:
        """Stop reading, so that the lease is closed."""


@dataclass(slots=True, order=True)
class _Waiting:
    turn: int
    size: int = field(compare=False)
    lease: "Lease" = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class BufferBudget:
    """Buffer memory that all uploads of a process share.

    Args:
        total: Bytes of memory; at least two parts.
        part_size: The maximum size of a part, in bytes.
    """

    def __init__(self, *, total: int, part_size: int) -> None:
        if total < 2 * part_size:
            raise ValueError("a budget must hold two parts: one that fills and one in transit")
        self.total = total
        self.free = total
        self.part_size = part_size
        self._reserved_for_small = total // 8
        self._small_limit = total // 2
        self._small_taken = 0
        self._share = max(total // 4, part_size)  # at least one part
        self._contended_limit = CONTENDED_PARTS * part_size
        self._held: defaultdict[str, int] = defaultdict(int)
        self._filling: set[Lease] = set()
        self._small_waiting: list[_Waiting] = []  # sorted by turn, lowest first
        self._large_waiting: list[_Waiting] = []
        self._pausing: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._leases = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """The number of small and of large uploads that wait for memory."""
        return len(self._small_waiting), len(self._large_waiting)

    def lease(
        self,
        *,
        at_most: int | None = None,
        read_ahead: ReadAhead | None = None,
        clients: Sequence[str] = (),
        arrival: Arrival | None = None,
        turn: int | None = None,
    ) -> "Lease":
        """Return a lease without memory yet; the caller must close it.

        Args:
            at_most: The maximum size of the whole upload in bytes, if known.
            read_ahead: Reads the bytes of the upload into this memory: each grant allows more, and `close` stops it.
            clients: Those whose share the memory counts towards.
            arrival: Measures the arrival of the upload's bytes. If None, the upload is never given up.
            turn: The turn of an earlier lease of the same upload, so that the upload keeps its place in the queue.
        """
        if turn is None:
            turn = self._leases = self._leases + 1
        return Lease(self, turn=turn, at_most=at_most, read_ahead=read_ahead, clients=clients, arrival=arrival)

    async def acquire(self, lease: "Lease", size: int, *, until: float | None = None) -> None:
        """Acquire `size` bytes as soon as they are free and no earlier upload of the same class waits for any.

        Raises:
            ServiceFull: They did not become free within `WAIT_SECONDS`, or before `until` in the event loop's time.
        """
        if not self._try_acquire(lease, size):
            await self.wait(lease, size, until=until)

    async def pause(self, lease: "Lease", size: int) -> None:
        """Wait until `size` bytes more are within `CONTENDED_PARTS`, or leave a quarter of the memory free."""
        while lease.acquired + size > self._contended_limit and self.free - size < self._share:
            released = asyncio.get_running_loop().create_future()
            self._pausing.append(released)
            try:
                await released
            finally:
                self._pausing.remove(released)

    async def wait(self, lease: "Lease", size: int, *, until: float | None) -> None:
        """Wait in the queue for `size` bytes. `acquire` calls this if they are not free."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(lease.turn, size, lease, loop.create_future())
        queue = self._small_waiting if lease.is_small else self._large_waiting
        insort(queue, waiting)
        self._wake()
        if self._timer is None:
            self._timer = loop.call_later(LOOK_SECONDS, self._give_up_slow)
        try:
            async with asyncio.timeout_at(min(loop.time() + WAIT_SECONDS, until or inf)):
                await self._wait_for_grant(waiting)
        except TimeoutError:
            raise ServiceFull("All memory for uploads is in use. Try again in a moment.") from None
        finally:
            if waiting in queue:
                queue.remove(waiting)

    def _try_acquire(self, lease: "Lease", size: int) -> bool:
        """Acquire the memory if it is free and no upload of the same class waits; return whether it did."""
        if self._first(self._small_waiting if lease.is_small else self._large_waiting) is not None:
            return False
        if not self._is_within_share(lease, size):
            return False
        if not (self._may_take_small(size) if lease.is_small else self._may_take_large(size)):
            return False
        self._count(lease, size)
        return True

    async def _wait_for_grant(self, waiting: _Waiting) -> None:
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if not waiting.granted.cancelled():  # granted and cancelled in the same iteration of the event loop
                self.release(waiting.lease, waiting.size)
            else:
                self._wake()  # those behind it in the queue may be next
            raise

    def release(self, lease: "Lease", size: int) -> None:
        """Release bytes."""
        if size:
            self._count(lease, -size)
            if self._small_waiting or self._large_waiting:
                self._wake()
            for released in self._pausing:  # they look again in the event loop's next iteration, after those that wait
                if not released.done():
                    released.set_result(None)

    def update_filling(self, lease: "Lease") -> None:
        """Record whether a lease holds memory that its client has yet to fill."""
        if lease.held:
            self._filling.add(lease)
        else:
            self._filling.discard(lease)

    def _wake(self) -> None:
        while (first := self._first(self._small_waiting)) and self._may_take_small(first.size):
            self._grant(first, self._small_waiting)
        while (first := self._first(self._large_waiting)) and self._may_take_large(first.size):
            self._grant(first, self._large_waiting)

    def _first(self, queue: list[_Waiting]) -> _Waiting | None:
        """Return the first in the queue that is not cancelled and whose client may have more."""
        return next(filter(self._is_eligible, queue), None) if queue else None

    def _is_eligible(self, waiting: _Waiting) -> bool:
        return not waiting.granted.cancelled() and self._is_within_share(waiting.lease, waiting.size)

    def _is_within_share(self, lease: "Lease", size: int) -> bool:
        """Return whether its clients stay within their share, or leave as much to others."""
        return self.free - size >= self._share or all(
            self._held.get(one, 0) + size <= self._share for one in lease.clients
        )

    def _may_take_small(self, size: int) -> bool:
        contended = self._first(self._large_waiting) is not None
        return size <= self.free and (not contended or self._small_taken + size <= self._small_limit)

    def _may_take_large(self, size: int) -> bool:
        return size <= self.free - max(0, self._reserved_for_small - self._small_taken)

    def _grant(self, waiting: _Waiting, queue: list[_Waiting]) -> None:
        queue.remove(waiting)
        self._count(waiting.lease, waiting.size)
        waiting.granted.set_result(None)

    def _count(self, lease: "Lease", size: int) -> None:
        self.free -= size
        lease.acquired += size
        self._small_taken += size if lease.is_small else 0
        for client in lease.clients:
            self._held[client] += size
            if not self._held[client]:
                del self._held[client]

    def _give_up_slow(self) -> None:
        """Give up slow uploads, the slowest first, until they free what others wait for."""
        queues = (self._small_waiting, self._large_waiting)
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._give_up_slow) if any(queues) else None
        wanted = sum(one.size for queue in queues for one in queue if self._is_eligible(one))
        if not wanted:
            return
        slow = [(lease.arrival, lease.held) for lease in self._filling if lease.arrival and lease.arrival.is_slow]
        for arrival, held in sorted(slow, key=lambda one: one[0].bytes_per_second):
            arrival.give_up()
            wanted -= held
            if wanted <= 0:
                return


class Lease:
    """The memory of one upload: for the part that it is filling, and for those in transit."""

    __slots__ = ("_budget", "_left", "_read_ahead", "acquired", "arrival", "clients", "held", "is_small", "turn")

    def __init__(
        self,
        budget: BufferBudget,
        *,
        turn: int,
        at_most: int | None,
        read_ahead: ReadAhead | None,
        clients: Sequence[str],
        arrival: Arrival | None,
    ) -> None:
        self._budget = budget
        self._read_ahead = read_ahead
        self._left = at_most
        self.turn = turn
        self.is_small = at_most is not None and at_most <= SMALL
        self.clients = clients
        self.arrival = arrival
        self.held = 0
        """Bytes for the part that is being filled."""
        self.acquired = 0
        """Bytes for all parts."""

    async def pause(self) -> None:
        """Wait for parts in transit to arrive, if the upload has enough of them for now; see `BufferBudget.pause`."""
        await self._budget.pause(self, self._next_size())

    async def next_part(self, *, until: float | None = None) -> int:
        """Acquire memory for one more part and return its size in bytes.

        Raises:
            ServiceFull: As `BufferBudget.acquire` does.
            ValueError: The upload already has memory for `at_most` bytes.
        """
        if self._left == 0:
            raise ValueError("the upload is longer than announced")
        size = self._next_size()
        await self._budget.acquire(self, size, until=until)
        self._hold(size)
        if self._left is not None:
            self._left -= size
        if self._read_ahead is not None:
            self._read_ahead.allow(size)
        return size

    def _next_size(self) -> int:
        return self._budget.part_size if self._left is None else min(self._left, self._budget.part_size)

    def mark_in_transit(self, size: int) -> None:
        """Mark the part of `size` bytes as in transit, and release the memory that it did not use."""
        unused = self.held - size
        self._hold(0)
        self._budget.release(self, unused)

    def mark_arrived(self, size: int) -> None:
        """Release the memory of a part that was sent."""
        self._budget.release(self, size)

    def close(self) -> None:
        """Release all memory that the lease holds."""
        if self._read_ahead is not None:
            self._read_ahead.stop()
        self.mark_in_transit(0)

    def _hold(self, size: int) -> None:
        self.held = size
        self._budget.update_filling(self)
