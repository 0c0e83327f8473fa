"""The memory that the buffers of one process may take together, and who is given it first.

Every byte that waits to be sent is taken from the budget before it is read on from the client, so a full budget slows
the clients' sockets and nothing else. An upload's *lease* counts the bytes of the part that fills; once the part is
sent, its bytes travel, and come back to the budget when the store has answered.

Two things must never happen, and the rules below are made for them:

- *Deadlock.* A part can only be sent when it is full, so many half-filled parts could hold all memory and none go on.
  A byte is granted only if enough stays free for the fullest part to become full (the safe states of Dijkstra's
  banker's algorithm, which all needs being one part reduces to that one comparison). The fullest can therefore always
  go on; its bytes then travel and come back, and the next fullest follows.
- *Starvation of small photos.* The last `small_reserve` bytes are for leases of at most `small` bytes, and for the
  fullest. Among those who wait, the first who may go on goes first.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from recipe_api.settings import KIB

SMALL = 512 * KIB
"""Bytes below which a photo counts as small: most photos that a page shows."""


@dataclass(slots=True, eq=False)
class _Waiting:
    lease: "Lease"
    size: int
    granted: asyncio.Future[None]


class BufferBudget:
    """Bytes of buffer that all uploads of a process share.

    Args:
        total: All there are; at least two parts.
        part_size: The most that one lease holds.
    """

    def __init__(self, *, total: int, part_size: int) -> None:
        if total < 2 * part_size:
            raise ValueError("a budget must hold two parts: one that fills, one that travels")
        self.free = total
        self._part_size = part_size
        self._small_reserve = total // 8
        self._leases: set[Lease] = set()
        self._waiting: deque[_Waiting] = deque()

    def lease(self) -> "Lease":
        """A lease of no bytes yet; close it."""
        lease = Lease(self)
        self._leases.add(lease)
        return lease

    async def grow(self, lease: "Lease", size: int) -> None:
        """Gives a lease `size` more bytes, as soon as that is safe and its turn."""
        if not self._waiting and self._may_grow(lease, size):
            self._grant(lease, size)
            return
        waiting = _Waiting(lease, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake()
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if not waiting.granted.cancelled():  # granted and cancelled in the same turn of the loop
                self.give_back(lease, size)
            raise

    def give_back(self, lease: "Lease | None", size: int) -> None:
        """Takes bytes back, from a lease or from those that travelled."""
        if lease is not None:
            lease.held -= size
        self.free += size
        self._wake()

    def close(self, lease: "Lease") -> None:
        """Takes a lease back with all that it holds."""
        self._leases.discard(lease)
        self.give_back(lease, lease.held)

    def _may_grow(self, lease: "Lease", size: int) -> bool:
        left = self.free - size
        if left >= self._part_size + self._small_reserve:
            return True  # the common case, without a look at the other leases
        grown = lease.held + size
        fullest = max((other.held for other in self._leases), default=0)
        needed = self._part_size - max(fullest, grown)
        if grown <= SMALL or grown >= fullest:
            return left >= needed
        return left >= needed + self._small_reserve

    def _grant(self, lease: "Lease", size: int) -> None:
        lease.held += size
        self.free -= size

    def _wake(self) -> None:
        still: deque[_Waiting] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.granted.cancelled():
                continue
            if self._may_grow(waiting.lease, waiting.size):
                self._grant(waiting.lease, waiting.size)
                waiting.granted.set_result(None)
            else:
                still.append(waiting)
        self._waiting = still


class Lease:
    """The bytes that one upload's filling part holds."""

    __slots__ = ("_budget", "held")

    def __init__(self, budget: BufferBudget) -> None:
        self._budget = budget
        self.held = 0

    async def grow(self, size: int) -> None:
        """Takes `size` more bytes; waits until they are there."""
        await self._budget.grow(self, size)

    def send_off(self) -> int:
        """Empties the lease: its bytes travel now, until `arrived` is told of as many."""
        travelling, self.held = self.held, 0
        return travelling

    def arrived(self, size: int) -> None:
        """Gives back bytes that travelled."""
        self._budget.give_back(None, size)

    def close(self) -> None:
        """Gives back all that is held."""
        self._budget.close(self)
