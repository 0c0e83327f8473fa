"""How uploads fare under three rules for granting memory, if they need more than there is.

    python benchmarks/budget.py

The rules: whole parts, as in `storage/budget.py`; the same without pausing, so that each upload has as many parts as it
can get; and byte by byte with the banker's algorithm, as it was before. Time is virtual, so that minutes of slow
clients take seconds and the result is the same on every machine. Each client has its own rate, the store accepts
60 MB/s after 10 ms, the budget is 48 MiB and a part 5 MiB. A client that is rejected for lack of memory retries after
`Retry-After`, and sends everything again.
"""

import argparse
import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from recipe_api.errors import ServiceFull
from recipe_api.storage.budget import SMALL, BufferBudget, Lease

KIB = 1024
MIB = 1024 * KIB
TOTAL, PART, CHUNK = 48 * MIB, 5 * MIB, 64 * KIB
STORE_RATE, STORE_SECONDS = 60 * MIB, 0.01
PARTS_IN_FLIGHT = 8
RETRY_AFTER = ServiceFull.retry_after  # seconds
LIMIT = 4000  # seconds


class Room(Protocol):
    """A rule, as seen by an upload."""

    async def grow(self, size: int) -> None:
        """Acquire memory for this many more bytes of the current part."""
        ...

    def mark_in_transit(self) -> int:
        """Begin to send the part, and return its size."""
        ...

    def arrived(self, size: int) -> None:
        """Release the memory of a part that has arrived."""
        ...

    def close(self) -> None:
        """End the upload."""
        ...


class WholeParts:
    """The service's rule."""

    pauses = True

    def __init__(self) -> None:
        self._budget = BufferBudget(total=TOTAL, part_size=PART)

    def room(self, size: int) -> Room:
        return _Part(self._budget.lease(at_most=size), pauses=self.pauses)


class WithoutPauses(WholeParts):
    """The service's rule, except that no upload pauses for others."""

    pauses = False


@dataclass(slots=True)
class _Part:
    lease: Lease
    pauses: bool
    filled: int = 0

    async def grow(self, size: int) -> None:
        if not self.filled:
            if self.pauses:
                await self.lease.pause()
            await self.lease.next_part()
        self.filled += size

    def mark_in_transit(self) -> int:
        size, self.filled = self.filled, 0
        self.lease.mark_in_transit(size)
        return size

    def arrived(self, size: int) -> None:
        self.lease.mark_arrived(size)

    def close(self) -> None:
        self.lease.close()


class ByteByByte:
    """Grants a byte if enough stays free for the fullest part to be filled, and an eighth for small uploads."""

    def __init__(self) -> None:
        self.free = TOTAL
        self.rooms: set[_Bytes] = set()
        self.waiting: list[tuple[_Bytes, int, asyncio.Future[None]]] = []

    def room(self, size: int) -> Room:
        assert size  # noqa: S101 - never called
        room = _Bytes(self)
        self.rooms.add(room)
        return room

    def may_grow(self, room: "_Bytes", size: int) -> bool:
        grown, fullest = room.held + size, max(other.held for other in self.rooms)
        kept = 0 if grown <= SMALL or grown >= fullest else TOTAL // 8
        return self.free - size >= PART - max(fullest, grown) + kept

    def wake(self) -> None:
        still = []
        for room, size, granted in self.waiting:
            if granted.cancelled():
                continue
            if self.may_grow(room, size):
                self.free -= size
                room.held += size
                granted.set_result(None)
            else:
                still.append((room, size, granted))
        self.waiting = still


@dataclass(slots=True, eq=False)
class _Bytes:
    rule: ByteByByte
    held: int = 0

    async def grow(self, size: int) -> None:
        granted = asyncio.get_running_loop().create_future()
        self.rule.waiting.append((self, size, granted))
        self.rule.wake()
        await granted

    def mark_in_transit(self) -> int:
        size, self.held = self.held, 0
        return size

    def arrived(self, size: int) -> None:
        self.rule.free += size
        self.rule.wake()

    def close(self) -> None:
        self.rule.rooms.discard(self)
        self.arrived(self.mark_in_transit())


@dataclass(slots=True)
class Client:
    """A client: what it sends, how fast, and when it begins."""

    sort: str
    size: int
    rate: float
    start: float = 0


@dataclass(slots=True)
class Run:
    """One rule in one situation."""

    rule: WholeParts | ByteByByte
    seconds: dict[str, list[float]] = field(default_factory=dict)
    store_free_at: float = 0
    came_again: int = 0

    async def upload(self, client: Client) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(client.start)
        began = clock()
        while not await self._is_taken(client):
            self.came_again += 1
            await asyncio.sleep(RETRY_AFTER)
        self.seconds.setdefault(client.sort, []).append(clock() - began)

    async def _is_taken(self, client: Client) -> bool:
        room, is_taken = self.rule.room(client.size), True
        try:
            await self._send(client, room)
        except* ServiceFull:
            is_taken = False
        finally:
            room.close()
        return is_taken

    async def _send(self, client: Client, room: Room) -> None:
        left, filled = client.size, 0
        slots = asyncio.Semaphore(PARTS_IN_FLIGHT)
        async with asyncio.TaskGroup() as parts:
            while left:
                size = min(CHUNK, left, PART - filled)
                await asyncio.sleep(size / client.rate)
                await room.grow(size)
                left, filled = left - size, filled + size
                if filled == PART and left:
                    await slots.acquire()
                    parts.create_task(self._part(room, room.mark_in_transit(), slots))
                    filled = 0
            await self._sent(filled)

    async def _part(self, room: Room, size: int, slots: asyncio.Semaphore) -> None:
        await self._sent(size)
        room.arrived(size)
        slots.release()

    async def _sent(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self.store_free_at = max(self.store_free_at, now) + size / STORE_RATE
        await asyncio.sleep(self.store_free_at - now + STORE_SECONDS)


class _VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose clock advances only when no callback is ready before the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]  # it has no public name
        real = selector.select

        def select(timeout: float | None = None) -> object:
            self._now += timeout or 0.0
            return real(0)

        selector.select = select

    def time(self) -> float:
        return self._now


def _situations() -> dict[str, list[Client]]:
    chance = random.Random(1)  # noqa: S311 - no secret
    small = [Client("small", 50 * KIB, 1e6, number * 0.5) for number in range(100)]

    def phones(count: int, *, within: float) -> list[Client]:
        return [
            Client("phone", 3 * MIB, 200e3 * chance.uniform(0.5, 1.5), within * number / count)
            for number in range(count)
        ]

    return {
        "30 phones, 3 MiB at 200 kB/s": phones(30, within=15),
        "200 phones, 4 a second": phones(200, within=50),
        "100 phones at once": phones(100, within=1) + small,
        "50 fast clients, 64 MiB": [Client("large", 64 * MIB, 50e6) for _ in range(50)] + small,
        "60 clients, 20 MiB at 100 kB/s": [Client("large", 20 * MIB, 100e3, number) for number in range(60)] + small,
        "one fast client with 2 GiB, then 20 MiB every 2 s": [
            Client("first", 2048 * MIB, 100e6),
            *(Client("later", 20 * MIB, 5e6, 5 + 2 * number) for number in range(10)),
            *small,
        ],
        "250 slow small ones, 50 fast large": [
            *(Client("slow", 50 * KIB, 1500) for _ in range(250)),
            *(Client("large", 64 * MIB, 50e6) for _ in range(50)),
            *small,
        ],
    }


def _run(rule: Callable[[], WholeParts | ByteByByte], clients: list[Client]) -> str:
    run = Run(rule())

    async def all_of_them() -> float:
        tasks = [asyncio.create_task(run.upload(client)) for client in clients]
        await asyncio.wait(tasks, timeout=LIMIT)
        ended = asyncio.get_running_loop().time()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return ended

    with asyncio.Runner(loop_factory=_VirtualTime) as runner:
        ended = runner.run(all_of_them())
    sorts = dict.fromkeys(client.sort for client in clients)
    each = []
    for sort in sorts:
        seconds = sorted(run.seconds.get(sort, []))
        wanted = sum(client.sort == sort for client in clients)
        done = f"median {seconds[len(seconds) // 2]:.1f} s, max {seconds[-1]:.1f} s" if seconds else "none"
        each.append(f"{sort} {len(seconds)}/{wanted} {done}")
    return f"{ended:6.0f} s   {'; '.join(each)}; came again: {run.came_again}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name, clients in _situations().items():
        print(name)
        print(f"  byte by byte    {_run(ByteByByte, clients)}")
        print(f"  without pauses  {_run(WithoutPauses, clients)}")
        print(f"  whole parts     {_run(WholeParts, clients)}")
