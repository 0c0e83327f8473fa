"""Keeps `scripts/test --fast` fast: only tests that are marked `slow` may start a process."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

_MESSAGE = "starts a process; mark it `slow`, so that scripts/test --fast skips it"
_forbidden = False


class ProcessStarted(AssertionError):
    """A test that is not marked `slow` starts a process."""


@contextmanager
def allowing(*, allowed: bool) -> Iterator[None]:
    """Let the block start processes if `allowed`; otherwise, raise `ProcessStarted` if it starts one."""
    global _forbidden  # noqa: PLW0603 - processes can be started from anywhere
    before, _forbidden = _forbidden, not allowed
    try:
        yield
    finally:
        _forbidden = before


def _guarded(start: Callable[..., None]) -> Callable[..., None]:
    def guarded(*arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as the original
        if _forbidden:
            raise ProcessStarted(_MESSAGE)
        start(*arguments, **options)

    return guarded


def install() -> None:
    """Watch all processes that this one starts from Python."""
    subprocess.Popen.__init__ = _guarded(subprocess.Popen.__init__)  # type: ignore[method-assign]
    BaseProcess.start = _guarded(BaseProcess.start)  # type: ignore[method-assign]
