"""The check behind `/readyz`, made once a second at most, however many ask."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from recipe_api.errors import Unavailable

FRESH_SECONDS = 1
"""How long the result of a check counts: less than any monitor's interval."""

Check = Callable[[], Coroutine[Any, Any, list[Unavailable]]]


class Readiness:
    """One check that all requests share: anyone may ask, and each check asks the database and the store.

    Args:
        check: Returns what is wrong; empty when all is ready.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._task: asyncio.Task[list[Unavailable]] | None = None
        self._ended = 0.0

    async def failures(self) -> list[Unavailable]:
        """Return what is wrong, as of now or of a check that ended less than a second ago."""
        loop = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and loop.time() - self._ended >= FRESH_SECONDS):
            self._task = loop.create_task(self._check(), name="readiness")
            self._task.add_done_callback(self._note_end)
        return await asyncio.shield(self._task)  # one client that goes away does not end it for the others

    def close(self) -> None:
        """End a check that is under way."""
        if self._task is not None:
            self._task.cancel()

    def _note_end(self, _: object) -> None:
        self._ended = asyncio.get_running_loop().time()
