"""A task runs for as long as a block lasts, and no cancellation or failure is lost."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from recipe_api import background


class Work:
    """A task that waits to be cancelled, and then, if asked to, for permission to end; it may fail."""

    def __init__(self, *, lingers: bool = False, error: Exception | None = None) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = False
        self._error = error
        if not lingers:
            self.may_end.set()

    async def __call__(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
            await self.may_end.wait()
            self.ended = True
            if self._error is not None:
                raise self._error


async def block(work: Coroutine[Any, Any, None], inside: Callable[[], Awaitable[object]]) -> None:
    """Run `work` beside a block."""
    async with background.running(work, name="x"):
        await inside()


async def nothing() -> None:
    """Return at once."""


async def forever() -> None:
    """Never return."""
    await asyncio.Event().wait()


async def failing() -> None:
    """Fail at once."""
    raise ZeroDivisionError


async def test_the_task_ends_with_the_block() -> None:
    work = Work()
    await block(work(), work.started.wait)
    assert work.ended


async def test_the_block_may_end_before_the_task_has_started() -> None:
    work = Work()
    await block(work(), nothing)
    assert not work.started.is_set()


async def test_a_failure_of_the_block_ends_the_task() -> None:
    work = Work()

    async def inside() -> None:
        await work.started.wait()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block(work(), inside)
    assert work.ended


async def test_a_cancellation_of_the_block_ends_the_task_and_is_raised() -> None:
    work = Work()
    caller = asyncio.create_task(block(work(), forever))
    await work.started.wait()
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    assert work.ended


async def test_a_cancellation_of_the_caller_while_the_task_ends_is_raised_after_the_end() -> None:
    work = Work(lingers=True)
    caller = asyncio.create_task(block(work(), work.started.wait))
    await work.cancelled.wait()
    caller.cancel()
    await until_idle()
    assert not caller.done()
    work.may_end.set()
    await asyncio.wait({caller})
    assert caller.cancelled()
    assert work.ended


async def test_a_failure_of_the_task_at_its_end_is_raised() -> None:
    work = Work(error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await block(work(), work.started.wait)


async def test_a_failure_of_the_task_is_raised_only_when_the_block_ends() -> None:
    may_end = asyncio.Event()
    caller = asyncio.create_task(block(failing(), may_end.wait))
    await until_idle()
    assert not caller.done()
    may_end.set()
    with pytest.raises(ZeroDivisionError):
        await caller


async def until_idle() -> None:
    """Let all tasks that are ready run; a few iterations of the loop are more than they need."""
    for _ in range(20):
        await asyncio.sleep(0)
