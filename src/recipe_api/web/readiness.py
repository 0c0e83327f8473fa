"""Runs the check behind `/readyz` at most once per second, however many clients request it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from recipe_api.errors import Unavailable

FRESH_SECONDS = 1
"""How long the result of a check is reused: less than any monitor's interval."""

Check = Callable[[], Coroutine[Any, Any, list[Unavailable]]]


class Readiness:
    """A check that concurrent requests share, because anyone may request it, and it queries the database and the store.

    Args:
        check: Returns the failures; none if everything is ready.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._task: asyncio.Task[list[Unavailable]] | None = None
        self._ended = 0.0

    async def failures(self) -> list[Unavailable]:
        """Return the failures, from a new check or from one that ended less than a second ago."""
        loop = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and loop.time() - self._ended >= FRESH_SECONDS):
            self._task = loop.create_task(self._check(), name="readiness")
            self._task.add_done_callback(self._note_end)
        return await asyncio.shield(self._task)  # a client that disconnects does not cancel it for the others

    def close(self) -> None:
        """Cancel a check that is in progress."""
        if self._task is not None:
            self._task.cancel()

    def _note_end(self, _: object) -> None:
        self._ended = asyncio.get_running_loop().time()
