"""A clock that jumps: waiting takes no time, and takes exactly as long as it says."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop whose time goes on only when nobody has anything to do before the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]  # the loop's own, which has no public name
        real = selector.select

        def select(timeout: float | None = None) -> object:
            self._now += timeout or 0.0
            return real(0)

        selector.select = select

    def time(self) -> float:
        return self._now


def run_in_virtual_time(work: Coroutine[Any, Any, Answer]) -> Answer:
    """What the work comes to."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work)
