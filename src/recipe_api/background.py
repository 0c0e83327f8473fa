"""Runs a task for as long as a block lasts.

`asyncio.TaskGroup` cannot do this: it waits for its tasks instead of ending them, and cancels the block if one fails.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Run `work` in a task beside the block. When the block ends, cancel the task and wait until it has ended.

    If the caller is cancelled during this wait, its cancellation is raised after the task has ended, because the task
    may be using resources that the caller closes next. If the task fails, its exception is raised when the block ends.

    Args:
        work: The coroutine to run.
        name: The name of the task.
    """
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await _end(task)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})  # raises the cancellation of the caller, but not the task's
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        raise cancellation
    if not task.cancelled():
        task.result()
