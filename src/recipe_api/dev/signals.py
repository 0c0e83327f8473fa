"""SIGINT, SIGTERM and SIGHUP all mean: end, in order. The first does; those after it change nothing.

`EndAsked` is raised wherever the program is, like KeyboardInterrupt, so that what is open is closed on the way out.
While uvicorn serves, it has the first two to itself, finishes what is under way and raises them anew.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndAsked(BaseException):
    """A signal asked for the end. Not of Exception, so that nobody catches it by chance."""


@contextmanager
def signals_end() -> Iterator[None]:
    """Within it a signal raises `EndAsked`, once, in the main thread."""
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def end(_number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise EndAsked

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _silence(terminals)
        signal.raise_signal(signal.SIGTERM)  # to whoever has it now, we or uvicorn

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _silence(terminals: list[int]) -> None:
    """The terminal is gone: a line written to it on the way out would be an error that stops the clean-up."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
