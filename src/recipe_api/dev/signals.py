"""Turns SIGINT, SIGTERM and SIGHUP into an orderly shutdown. The first one counts; later ones are ignored.

Like KeyboardInterrupt, `StopRequested` is raised wherever the program is, so that everything open is closed. While
uvicorn serves, it handles the first two itself: it finishes the requests in progress and then raises the signal again.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """A signal has requested a shutdown. Not an Exception, so that nothing catches it by accident."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `StopRequested` in the main thread, once, if a signal arrives within the block."""
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def end(_number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise StopRequested

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _silence(terminals)
        signal.raise_signal(signal.SIGTERM)  # to its current handler, ours or that of uvicorn

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
    """Redirect output from a closed terminal, where writing would raise an error and interrupt the cleanup."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
