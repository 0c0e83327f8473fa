"""Undoing what was begun, to its end: neither a cancellation nor a second failure cuts it short.

The work runs as a task of its own. Whoever asked for it waits, and goes on waiting for nothing when cancelled: the
task lives on, and closing the service waits for it. A failure is logged and left to the sweep.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Undo:
    """The undoing that is under way in this process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Coroutine[Any, Any, None], *, what: str) -> None:
        """Runs `work` to its end, whatever happens to the caller; never raises its failure."""
        task = asyncio.create_task(self._logged(work, what=what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Waits until all that is under way has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _logged(self, work: Coroutine[Any, Any, None], *, what: str) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - logged here, since nobody else is left to be told
            _log.warning("undo failed; the sweep will find what is left", what=what, error=str(error))
