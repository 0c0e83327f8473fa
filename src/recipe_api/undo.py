"""Undoing what was begun, to its end: neither a cancellation nor a second failure cuts it short.

The work runs as a task of its own. Whoever asked for it waits, but not for long: the answer to a client must not
hang on a store that is away. When the wait ends, or is cancelled, the task lives on, and closing the service waits for
it. A failure is logged and left to the sweep.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

PATIENCE_SECONDS = 2
"""How long an answer waits for its undoing: the router gives up after 30 s, and a store that works needs far less."""
CLOSING_SECONDS = 4
"""How long a process that stops waits for its undoing; Heroku kills it 30 s after it asked."""

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class Undo:
    """The undoing that is under way in this process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(
        self, work: Coroutine[Any, Any, Result], *, what: str, patience: float | None = None
    ) -> Result | None:
        """Runs `work` to its end, whatever happens to the caller; never raises its failure.

        Returns what it comes to when it has ended; None where it failed, or where it goes on after `patience` seconds,
        by default `PATIENCE_SECONDS`.
        """
        task = asyncio.create_task(self._logged(work, what=what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        wait = PATIENCE_SECONDS if patience is None else patience
        ended, _ = await asyncio.wait({task}, timeout=wait)  # wait() leaves its tasks alone when it is cancelled
        return task.result() if ended and not task.cancelled() else None

    async def close(self) -> None:
        """Waits until all that is under way has ended, for `CLOSING_SECONDS` at most."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                while self._tasks:  # what is undone may lead to more
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            _log.warning("stopped before all was undone; the sweep will find what is left", left=len(self._tasks))
            for task in (left := list(self._tasks)):
                task.cancel()  # what they work with closes next
            await asyncio.wait(left)

    async def _logged(self, work: Coroutine[Any, Any, Result], *, what: str) -> Result | None:
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - logged here, since nobody else is left to be told
            _log.warning("undo failed; the sweep will find what is left", what=what, error=str(error))
            return None
