"""The memory that the buffers of one process may take together, and who is given it first.

A part is sent when it is full, so it needs its room to the end once it has begun. An upload's *lease* therefore takes
the room of a whole part before the part's first byte: five MiB, or less where the body was announced to be less. Who
waits holds nothing, and who holds waits for nobody: no deadlock. A full budget slows the clients' sockets, and who has
waited for `WAIT_SECONDS` is told to come again. Once a part is sent its bytes travel, and their room comes back when
the store has answered.

Small photos do not queue behind large ones. An eighth of the room is left to them, and they go first in whatever
becomes free; while large ones wait, the small take no more than half. Within each of the two, the upload that began
first goes first, so that some are done early rather than all late.

Considerations: counting byte by byte would admit more at once, but then a hundred clients of a mobile network share
all room among half-filled parts of which one at a time can go on (docs/benchmarks.md, "Memory"). A body that does not
announce its length counts as large.
"""

import asyncio
import heapq
from dataclasses import dataclass, field
from math import inf

from recipe_api.asgi import NO_WINDOW, Window
from recipe_api.errors import ServiceFull
from recipe_api.settings import KIB

SMALL = 512 * KIB
"""Bytes up to which a body counts as small: most photos that a page shows."""
WAIT_SECONDS = 50
"""How long an upload waits for room. Nobody sees meanwhile whether its client is still there; and Heroku's router ends
a body in which nothing moves for 55 s."""


@dataclass(slots=True, order=True)
class _Waiting:
    turn: int
    size: int = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class BufferBudget:
    """Bytes of buffer that all uploads of a process share.

    Args:
        total: All there are; at least two parts.
        part_size: The most that one part takes.
    """

    def __init__(self, *, total: int, part_size: int) -> None:
        if total < 2 * part_size:
            raise ValueError("a budget must hold two parts: one that fills, one that travels")
        self.free = total
        self.part_size = part_size
        self._kept_for_small = total // 8
        self._small_limit = total // 2
        self._small_taken = 0
        self._small_waiting: list[_Waiting] = []  # heaps: the lowest turn first
        self._large_waiting: list[_Waiting] = []
        self._leases = 0

    def lease(self, *, at_most: int | None = None, window: Window = NO_WINDOW) -> "Lease":
        """A lease of no room yet; close it.

        Args:
            at_most: Bytes of the whole upload, where it is known that more cannot come.
            window: Of whoever reads the bytes, into this room: widened by all that is granted, shut when it is closed.
        """
        self._leases += 1
        return Lease(self, turn=self._leases, at_most=at_most, window=window)

    async def take(self, size: int, *, turn: int, small: bool, until: float | None = None) -> None:
        """Gives `size` bytes as soon as they are there and no earlier turn of its sort wants them.

        Raises:
            ServiceFull: They were not there for `WAIT_SECONDS`, or `until` then, in the loop's time.
        """
        if self._taken_at_once(size, small=small):
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(turn, size, loop.create_future())
        heapq.heappush(self._small_waiting if small else self._large_waiting, waiting)
        self._wake()
        try:
            async with asyncio.timeout_at(min(loop.time() + WAIT_SECONDS, until or inf)):
                await self._granted(waiting, small=small)
        except TimeoutError:
            raise ServiceFull("All memory for photos is taken; try again in a moment.") from None

    def _taken_at_once(self, size: int, *, small: bool) -> bool:
        """Whether there was room, and nobody of the same sort who waits for it."""
        if _first(self._small_waiting if small else self._large_waiting) is not None:
            return False
        if not (self._may_take_small(size) if small else self._may_take_large(size)):
            return False
        self.free -= size
        self._small_taken += size if small else 0
        return True

    async def _granted(self, waiting: _Waiting, *, small: bool) -> None:
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if not waiting.granted.cancelled():  # granted and cancelled in the same turn of the loop
                self.give_back(waiting.size, small=small)
            else:
                self._wake()  # it may have been the one that those behind it waited for
            raise

    def give_back(self, size: int, *, small: bool) -> None:
        """Takes bytes back."""
        self.free += size
        if small:
            self._small_taken -= size
        self._wake()

    def _wake(self) -> None:
        while (first := _first(self._small_waiting)) and self._may_take_small(first.size):
            self._small_taken += first.size
            self._grant(heapq.heappop(self._small_waiting))
        while (first := _first(self._large_waiting)) and self._may_take_large(first.size):
            self._grant(heapq.heappop(self._large_waiting))

    def _may_take_small(self, size: int) -> bool:
        contended = _first(self._large_waiting) is not None
        return size <= self.free and (not contended or self._small_taken + size <= self._small_limit)

    def _may_take_large(self, size: int) -> bool:
        return size <= self.free - max(0, self._kept_for_small - self._small_taken)

    def _grant(self, waiting: _Waiting) -> None:
        self.free -= waiting.size
        waiting.granted.set_result(None)


def _first(heap: list[_Waiting]) -> _Waiting | None:
    """The first who still waits; those before, who were cancelled, are dropped."""
    while heap and heap[0].granted.cancelled():
        heapq.heappop(heap)
    return heap[0] if heap else None


class Lease:
    """The room of the part that one upload fills."""

    __slots__ = ("_budget", "_left", "_small", "_turn", "_window", "held")

    def __init__(self, budget: BufferBudget, *, turn: int, at_most: int | None, window: Window) -> None:
        self._budget = budget
        self._turn = turn
        self._window = window
        self._left = at_most
        self._small = at_most is not None and at_most <= SMALL
        self.held = 0

    async def next_part(self, *, until: float | None = None) -> int:
        """Waits for room for one more part; answers how many bytes it may have.

        Raises:
            ServiceFull: There was none, as `BufferBudget.take` has it.
            ValueError: All bytes that could come have been given room.
        """
        if self._left == 0:
            raise ValueError("more bytes than were announced")
        size = self._budget.part_size if self._left is None else min(self._left, self._budget.part_size)
        await self._budget.take(size, turn=self._turn, small=self._small, until=until)
        self.held = size
        if self._left is not None:
            self._left -= size
        self._window.widen(size)
        return size

    def send_off(self, size: int) -> None:
        """The part of `size` bytes travels now, until `arrived` is told of as many; what it left unused is free."""
        unused, self.held = self.held - size, 0
        self._budget.give_back(unused, small=self._small)

    def arrived(self, size: int) -> None:
        """Gives back the room of bytes that travelled."""
        self._budget.give_back(size, small=self._small)

    def close(self) -> None:
        """Gives back all that is held."""
        self._window.shut()
        self.send_off(0)
