"""An event loop with a virtual clock, which jumps to the next timer instead of waiting."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose clock advances only when no callback is ready before the next timer."""

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


def run_in_virtual_time(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and return its result."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        return runner.run(work)
