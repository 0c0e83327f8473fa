"""How many uploads a process takes on at once; and, when it stops, waiting for those that are still under way."""

import asyncio

from recipe_api.errors import ServiceFull


class Admission:
    """Counts the uploads under way: each within a `with`, which raises `ServiceFull` where it would be one too many.

    Args:
        limit: The most at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        if self._active >= self._limit:
            raise ServiceFull(f"{self._limit} uploads are under way here; try again in a moment.")
        self._active += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._active -= 1
        if not self._active:
            self._idle.set()

    async def idle(self) -> None:
        """Returns when no upload is under way."""
        await self._idle.wait()
