"""Cleanup runs to completion, whatever happens to its caller."""

import asyncio

import pytest
from structlog.testing import capture_logs

from recipe_api import undo as module
from recipe_api.undo import Undo


class Work:
    """A cleanup that ends when the test permits it, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        self.started.set()
        await self.may_end.wait()
        self.ended.set()
        if self._error is not None:
            raise self._error
        return "done"


async def until_idle() -> None:
    """Let all tasks that are ready run; a few iterations of the loop are more than they need."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0)


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 3600)


@pytest.mark.usefixtures("long_wait")
async def test_the_caller_waits_until_the_work_has_ended() -> None:
    undo, work = Undo(), Work()
    caller = asyncio.create_task(undo.run(work(), what="x"))
    await work.started.wait()
    assert not caller.done()
    work.may_end.set()
    await caller
    assert work.ended.is_set()


@pytest.mark.usefixtures("no_wait")
async def test_the_work_continues_after_the_wait_of_the_caller() -> None:
    undo, work = Undo(), Work()
    await undo.run(work(), what="x")
    assert not work.ended.is_set()
    work.may_end.set()
    await undo.close()
    assert work.ended.is_set()


@pytest.mark.usefixtures("long_wait")
async def test_the_work_continues_if_the_caller_is_cancelled() -> None:
    undo, work = Undo(), Work()
    caller = asyncio.create_task(undo.run(work(), what="x"))
    await work.started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not work.ended.is_set()
    work.may_end.set()
    await undo.close()
    assert work.ended.is_set()


@pytest.mark.usefixtures("long_wait")
async def test_the_work_continues_if_the_caller_is_cancelled_repeatedly() -> None:
    undo, inner, outer = Undo(), Work(), Work()

    async def upload() -> None:
        try:
            await undo.run(inner(), what="a part")
        finally:
            await undo.run(outer(), what="all of it")

    caller = asyncio.create_task(upload())
    for work in (inner, outer):
        await work.started.wait()
        caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not inner.ended.is_set()
    assert not outer.ended.is_set()
    outer.may_end.set()
    inner.may_end.set()
    await undo.close()
    assert inner.ended.is_set()
    assert outer.ended.is_set()


@pytest.mark.usefixtures("long_wait")
async def test_the_work_starts_even_if_the_caller_is_already_cancelled() -> None:
    undo, work = Undo(), Work()
    work.may_end.set()

    async def cancelled() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await undo.run(work(), what="x")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled())
    await undo.close()
    assert work.ended.is_set()


@pytest.mark.usefixtures("long_wait")
async def test_a_failure_is_logged_and_not_raised() -> None:
    undo, work = Undo(), Work(OSError("the store is unavailable"))
    work.may_end.set()
    with capture_logs() as lines:
        await undo.run(work(), what="discarding cake.jpg")
    assert [(line["log_level"], line["what"], line["error"]) for line in lines] == [
        ("warning", "discarding cake.jpg", "the store is unavailable")
    ]


@pytest.mark.usefixtures("no_wait")
async def test_a_failure_after_the_wait_is_logged_too() -> None:
    undo, work = Undo(), Work(OSError("the store is unavailable"))
    await undo.run(work(), what="discarding cake.jpg")
    with capture_logs() as lines:
        work.may_end.set()
        await undo.close()
    assert [line["what"] for line in lines] == ["discarding cake.jpg"]


@pytest.mark.usefixtures("no_wait")
async def test_closing_waits_for_all_work_and_the_work_that_it_starts() -> None:
    undo, first, second = Undo(), Work(), Work()

    async def first_then_second() -> None:
        await first()
        await undo.run(second(), what="second")

    await undo.run(first_then_second(), what="first")
    closed = asyncio.create_task(undo.close())
    first.may_end.set()
    await second.started.wait()
    await until_idle()
    assert not closed.done()
    second.may_end.set()
    await closed
    assert first.ended.is_set()
    assert second.ended.is_set()


async def test_closing_logs_and_cancels_work_that_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSING_SECONDS", 0)
    undo, work = Undo(), Work()
    await undo.run(work(), what="x", wait_seconds=0)
    with capture_logs() as lines:
        await undo.close()
    assert [(line["log_level"], line["left"]) for line in lines] == [("warning", 1)]
    with capture_logs() as lines:
        await undo.close()
    assert lines == []  # nothing was left to wait for
    assert not work.ended.is_set()


@pytest.mark.usefixtures("no_wait")
async def test_the_caller_can_wait_longer_and_gets_the_result() -> None:
    undo, work = Undo(), Work()
    caller = asyncio.create_task(undo.run(work(), what="x", wait_seconds=3600))
    await work.started.wait()
    await until_idle()
    assert not caller.done()
    work.may_end.set()
    assert await caller == "done"


@pytest.mark.usefixtures("no_wait")
async def test_the_result_is_none_if_the_work_failed_or_continues() -> None:
    undo, work, failing = Undo(), Work(), Work(OSError("the store is unavailable"))
    failing.may_end.set()
    with capture_logs():
        assert await undo.run(failing(), what="x", wait_seconds=3600) is None
    assert await undo.run(work(), what="x") is None
    work.may_end.set()
    await undo.close()


async def test_closing_without_work_does_nothing() -> None:
    undo, work = Undo(), Work()
    await undo.close()
    work.may_end.set()
    await undo.run(work(), what="x")
    await undo.close()
    assert work.ended.is_set()
