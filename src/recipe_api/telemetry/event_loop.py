"""Measures the event loop's delay: how long a request waits because other code occupies the event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from recipe_api import background

INTERVAL_SECONDS = 0.5
"""Short enough to catch most pauses that clients could notice; long enough to cost next to nothing."""


@asynccontextmanager
async def watched_event_loop(record: Callable[[float], None]) -> AsyncIterator[None]:
    """Record the delay in seconds twice a second, until the block ends."""
    async with background.running(_watch(record), name="event loop delay"):
        yield


async def _watch(record: Callable[[float], None]) -> None:
    clock = asyncio.get_running_loop().time
    record(0)
    while True:
        due = clock() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        record(max(0, clock() - due))
