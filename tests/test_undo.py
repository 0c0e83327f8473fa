"""Undoing goes on to its end, whatever happens to whoever asked for it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from recipe_api import undo as module
from recipe_api.undo import Undo


class Work:
    """What is to be undone: it begins, and ends when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self.let = asyncio.Event()
        self.end = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        self.begun.set()
        await self.let.wait()
        self.end.set()
        if self._error is not None:
            raise self._error
        return "undone"


async def until_idle() -> None:
    """Lets everything run that could; a handful of turns of the loop is more than any of it takes."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 3600)


@pytest.mark.usefixtures("patient")
async def test_whoever_asks_waits_until_the_work_has_ended() -> None:
    undo, work = Undo(), Work()
    asked = asyncio.create_task(undo.run(work(), what="x"))
    await work.begun.wait()
    assert not asked.done()
    work.let.set()
    await asked
    assert work.end.is_set()


@pytest.mark.usefixtures("impatient")
async def test_whoever_asks_waits_no_longer_than_patience_lasts_and_the_work_goes_on() -> None:
    undo, work = Undo(), Work()
    await undo.run(work(), what="x")
    assert not work.end.is_set()
    work.let.set()
    await undo.close()
    assert work.end.is_set()


@pytest.mark.usefixtures("patient")
async def test_the_work_goes_on_though_whoever_asked_is_cancelled() -> None:
    undo, work = Undo(), Work()
    asked = asyncio.create_task(undo.run(work(), what="x"))
    await work.begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not work.end.is_set()
    work.let.set()
    await undo.close()
    assert work.end.is_set()


@pytest.mark.usefixtures("patient")
async def test_the_work_goes_on_though_whoever_asked_is_cancelled_again_while_undoing_more() -> None:
    undo, inner, outer = Undo(), Work(), Work()

    async def upload() -> None:
        try:
            await undo.run(inner(), what="a part")
        finally:
            await undo.run(outer(), what="all of it")

    asked = asyncio.create_task(upload())
    for work in (inner, outer):
        await work.begun.wait()
        asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not inner.end.is_set()
    assert not outer.end.is_set()
    outer.let.set()
    inner.let.set()
    await undo.close()
    assert inner.end.is_set()
    assert outer.end.is_set()


@pytest.mark.usefixtures("patient")
async def test_the_work_is_begun_though_whoever_asks_is_cancelled_already() -> None:
    undo, work = Undo(), Work()
    work.let.set()

    async def cancelled() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await undo.run(work(), what="x")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled())
    await undo.close()
    assert work.end.is_set()


@pytest.mark.usefixtures("patient")
async def test_a_failure_is_logged_and_not_raised() -> None:
    undo, work = Undo(), Work(OSError("the store is away"))
    work.let.set()
    with capture_logs() as lines:
        await undo.run(work(), what="discarding cake.jpg")
    assert [(line["log_level"], line["what"], line["error"]) for line in lines] == [
        ("warning", "discarding cake.jpg", "the store is away")
    ]


@pytest.mark.usefixtures("impatient")
async def test_a_failure_after_the_wait_is_logged_as_well() -> None:
    undo, work = Undo(), Work(OSError("the store is away"))
    await undo.run(work(), what="discarding cake.jpg")
    with capture_logs() as lines:
        work.let.set()
        await undo.close()
    assert [line["what"] for line in lines] == ["discarding cake.jpg"]


@pytest.mark.usefixtures("impatient")
async def test_closing_waits_for_all_that_is_under_way_and_for_what_that_begins() -> None:
    undo, first, second = Undo(), Work(), Work()

    async def first_then_second() -> None:
        await first()
        await undo.run(second(), what="second")

    await undo.run(first_then_second(), what="first")
    closed = asyncio.create_task(undo.close())
    first.let.set()
    await second.begun.wait()
    await until_idle()
    assert not closed.done()
    second.let.set()
    await closed
    assert first.end.is_set()
    assert second.end.is_set()


async def test_closing_waits_no_longer_than_a_process_may_says_what_is_left_and_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSING_SECONDS", 0)
    undo, work = Undo(), Work()
    await undo.run(work(), what="x", patience=0)
    with capture_logs() as lines:
        await undo.close()
    assert [(line["log_level"], line["left"]) for line in lines] == [("warning", 1)]
    assert not undo._tasks
    assert not work.end.is_set()


@pytest.mark.usefixtures("impatient")
async def test_whoever_asks_may_have_more_patience_and_learns_what_came_of_it() -> None:
    undo, work = Undo(), Work()
    asked = asyncio.create_task(undo.run(work(), what="x", patience=3600))
    await work.begun.wait()
    await until_idle()
    assert not asked.done()
    work.let.set()
    assert await asked == "undone"


@pytest.mark.usefixtures("impatient")
async def test_whoever_asks_learns_nothing_of_what_failed_or_goes_on() -> None:
    undo, work, failing = Undo(), Work(), Work(OSError("the store is away"))
    failing.let.set()
    with capture_logs():
        assert await undo.run(failing(), what="x", patience=3600) is None
    assert await undo.run(work(), what="x") is None
    work.let.set()
    await undo.close()


async def test_closing_is_nothing_where_nothing_is_under_way() -> None:
    undo, work = Undo(), Work()
    await undo.close()
    work.let.set()
    await undo.run(work(), what="x")
    await undo.close()
    assert work.end.is_set()
