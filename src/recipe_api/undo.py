"""Runs cleanup to completion, even if its caller is cancelled or another failure follows.

Each cleanup runs in its own task. The caller waits for it only briefly, because a response must not wait for a
store that is unavailable. When the wait ends or is cancelled, the task continues, and closing the service waits for it.
A failure is logged and left to the sweep.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

WAIT_SECONDS = 2
"""How long a response waits for cleanup: Heroku's router gives up after 30 s, and a working store needs far less."""
CLOSING_SECONDS = 4
"""How long a process that is stopping waits for cleanup; Heroku kills it 30 s after SIGTERM."""

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class Undo:
    """The cleanup in progress in this process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failures = 0
        """The number of cleanups that failed since the process started."""

    async def run(
        self, work: Coroutine[Any, Any, Result], *, what: str, wait_seconds: float | None = None
    ) -> Result | None:
        """Run `work` to completion, even if the caller is cancelled. Its failure is logged and not raised.

        Args:
            work: The coroutine to run.
            what: A description for the log.
            wait_seconds: How long to wait for it; by default `WAIT_SECONDS`.

        Returns:
            Its result; None if it failed, or is still running after the wait.
        """
        task = asyncio.create_task(self._logged(work, what=what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        timeout = WAIT_SECONDS if wait_seconds is None else wait_seconds
        ended, _ = await asyncio.wait({task}, timeout=timeout)  # unlike wait_for(), does not cancel its tasks
        return task.result() if ended and not task.cancelled() else None

    async def close(self) -> None:
        """Wait until all cleanup has ended, for at most `CLOSING_SECONDS`; then cancel the rest."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                while self._tasks:  # a cleanup may start another
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            _log.warning("stopped before cleanup was complete; the sweep will find what is left", left=len(self._tasks))
            for task in (left := list(self._tasks)):
                task.cancel()  # because the connections that it uses are closed next
            await asyncio.wait(left)

    async def _logged(self, work: Coroutine[Any, Any, Result], *, what: str) -> Result | None:
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - logged here, because no caller may be left to handle it
            self.failures += 1
            _log.warning("cleanup failed; the sweep will find what is left", what=what, error=str(error))
            return None
