"""Starts workers as forks of one process that has loaded the app, so that they share its memory.

A worker that loads the app itself takes 100 MB, most of it code and data that never change. Here a *loader*, a fork of
the supervisor, loads the app, forks the workers, and ends. If it stayed, it would keep the original of every page that
the workers have written to, which is 30 MB (docs/benchmarks.md, "The process itself").

When the loader has ended, the workers are children of the supervisor. For this, the supervisor becomes a child
subreaper (prctl(2)) until then. Only Linux supports this. If the supervisor dies, the loader gets SIGTERM.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_POLL_SECONDS = 0.05

_fork = multiprocessing.get_context("fork")


class LoaderFailed(Exception):
    """The app could not be loaded.

    Args:
        exitcode: The loader's exit code; negative for a signal.
    """

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(exitcode)
        self.exitcode = exitcode


class Fork:
    """A running child process that another process has started, with the methods of `multiprocessing.Process`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exitcode: int | None = None

    @property
    def exitcode(self) -> int | None:
        """The exit code, the negative number of a signal, or None while the process runs."""
        self._wait(os.WNOHANG)
        return self._exitcode

    def is_alive(self) -> bool:
        return self.exitcode is None

    def kill(self) -> None:
        if self.is_alive():  # otherwise the number may belong to another process
            os.kill(self.pid, signal.SIGKILL)

    def join(self) -> None:
        self._wait(0)

    def _wait(self, options: int) -> None:
        if self._exitcode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self._exitcode = os.waitstatus_to_exitcode(status)


def can_fork() -> bool:
    """Return whether this system supports `fork_workers`. Some sandboxes on Linux do not."""
    if sys.platform != "linux":
        return False
    try:
        with _subreaper():
            return True
    except OSError:
        return False


def fork_workers(
    targets: Sequence[Callable[[], None]],
    *,
    load: Callable[[], None],
    is_cancelled: Callable[[], bool],
    signals: Sequence[int],
) -> list[Fork]:
    """Start a process for each target, all forked from one that has run `load`. Return them in the same order.

    Args:
        targets: What each process runs.
        load: Imports and creates what the processes share. It must not start threads or open connections.
        is_cancelled: Returns whether to give up. Called repeatedly until the processes run.
        signals: The signals whose default action is restored.

    Raises:
        LoaderFailed: `load` has failed, or was interrupted because of `is_cancelled`.
    """
    receiver, sender = _fork.Pipe(duplex=False)
    with _subreaper(), receiver:
        loader = _fork.Process(target=_load_and_fork, args=(targets, load, signals, sender, os.getpid()))
        with blocked_signals():
            loader.start()
        sender.close()
        while not receiver.poll(_POLL_SECONDS):  # it also returns True when the loader has ended
            if is_cancelled():
                loader.terminate()
        with suppress(EOFError):
            pids = receiver.recv()
            loader.join()
            return [Fork(pid) for pid in pids]
        loader.join()
    raise LoaderFailed(loader.exitcode)


def _load_and_fork(
    targets: Sequence[Callable[[], None]],
    load: Callable[[], None],
    signals: Sequence[int],
    sender: Connection,
    supervisor: int,
) -> None:
    for number in signals:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # workers do not inherit it
    if os.getppid() != supervisor:  # it died before that
        os._exit(1)
    load()
    workers = [_fork.Process(target=_run, args=(target, sender)) for target in targets]
    for worker in workers:
        worker.start()
    sender.send([worker.pid for worker in workers])
    os._exit(0)  # without waiting for the workers


def _run(target: Callable[[], None], sender: Connection) -> None:
    sender.close()
    with suppress(KeyboardInterrupt):  # as in a worker that uvicorn has started
        target()


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block SIGINT and SIGHUP for the duration of the block. A process that starts in it inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _subreaper() -> Iterator[None]:
    """While the block lasts, become the parent of the processes that children of this one leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
