"""Supervises the worker processes of one service.

uvicorn replaces a worker that has died. Five things are added here:

- The death of a worker is logged as a warning, with the signal or exit code. After `MAX_DEATHS` in `DEATH_SECONDS` the
  service exits with an error, so that its process manager notices and can wait before it starts the service again.
- A worker has `START_SECONDS` to start. uvicorn kills one that does not respond within 5 s. On a busy machine the
  imports alone may take longer while no bytecode is cached, and then no worker would ever start.
- Workers stop when the supervisor has died, even by SIGKILL. Otherwise they would occupy the port at the next start.
- Workers know whether the whole service is stopping, or only they are because SIGHUP replaces them. In the first case
  the port must reject connections at once, in the second it must not. A pipe signals it (`_StopEvent`).
- The first workers are forks of one process, and share its memory (`forks`). A worker that replaces another must load
  the code that is installed by then, at least after SIGHUP. So it is a new process, which shares nothing.

Used here beyond uvicorn's documentation: of `Multiprocess` the attributes `processes`, `processes_num`, `sockets`,
`should_exit` and `signal_queue` and the methods `init_processes`, `keep_subprocess_alive`, `terminate_all`,
`handle_signals` and `handle_hup`; the name `Process` in its module, from which it makes workers; and that class's
`process`, `parent_conn`, `target`, `start`, `is_alive`, `is_ready`, `wait_until_ready` and `server`.
`tests/server/test_running.py`, `tests/server/test_workers.py` and `tests/server/test_stopping.py` fail when one of
these changes.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from contextlib import suppress
from functools import cached_property, partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from socket import socket
from types import FrameType
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from recipe_api.server.forks import Fork, LoaderFailed, blocked_signals, can_fork, fork_workers
from recipe_api.server.graceful import GracefulServer, load
from recipe_api.server.terminal import Terminal

MAX_DEATHS = 10
"""Deaths of all workers together. One starts in about a second, so a service that cannot run exits after about 10 s."""
DEATH_SECONDS = 60
START_SECONDS = 60

_log = structlog.get_logger(__name__)


class Supervisor(multiprocess.Multiprocess):
    """The parent process of the workers; `config` sets their number."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._terminal = Terminal()
        stop = _StopEvent()
        self._new_worker = partial(Worker, supervisor=stop.other_end)
        # There is no other way to make workers run another server.
        multiprocess.Process = self._new_worker  # type: ignore[misc, assignment]
        super().__init__(config, sockets=[config.bind_socket()])
        self.should_exit = stop
        # If the parent lets it be ignored, this process inherits that, and the exit codes of workers would be lost.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, self._stop)
        self.failed = False
        """Whether the service ended because workers did not start or kept dying."""
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)

    def init_processes(self) -> None:
        """Start the first workers as forks of one process, which share its memory, if the system supports that."""
        if not can_fork():
            super().init_processes()
            return
        workers = [self._new_worker(self.config, self.sockets) for _ in range(self.processes_num)]
        deadline = time.monotonic() + START_SECONDS
        try:
            forks = fork_workers(
                [partial(worker.target, self.sockets) for worker in workers],
                load=self._load,
                is_cancelled=lambda: self.should_exit.is_set() or time.monotonic() > deadline,
                signals=list(multiprocess.SIGNALS),
            )
        except LoaderFailed as failure:
            if not self.should_exit.is_set():
                _log.error("service stopped: the app cannot be loaded", **_exit_fields(failure.exitcode))
                self.failed = True
                self.should_exit.set()
            return
        for worker, fork in zip(workers, forks, strict=True):
            worker.adopt(fork)
            self.processes.append(worker)

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died or do not respond, and log each of them."""
        workers = tuple(self.processes)
        super().keep_subprocess_alive()
        if self.should_exit.is_set():
            self.failed |= any(worker.exitcode == STARTUP_FAILURE for worker in workers)
            return
        for worker in workers:
            if worker not in self.processes and isinstance(worker, Worker):
                self._log_death(worker)

    def terminate_all(self) -> None:
        """Ask all workers to stop, and leave the port to them."""
        self.handle_signals()  # logs the signal
        super().terminate_all()
        for listener in self.sockets:
            listener.close()

    def handle_hup(self) -> None:
        """Restart the workers one after another, or stop if the terminal was closed
        (`GracefulServer.handle_hangup`).
        """
        if self._terminal.is_lost():
            self._terminal.discard_output()
            self.should_exit.set()
        else:
            super().handle_hup()

    def _load(self) -> None:
        """Load the app, in the process that forks the workers."""
        self.should_exit.set()  # only closes this process's end of the pipe, which would keep it open
        load(self.config)

    def _stop(self, sig: int, _: FrameType | None) -> None:
        # Workers that have received the signal too wait for this, and uvicorn checks its queue only twice a second.
        self.signal_queue.append(sig)
        self.should_exit.set()

    def _log_death(self, worker: "Worker") -> None:
        if worker.is_hung:
            _log.warning("worker killed: it did not respond", pid=worker.pid)
        else:
            _log.warning("worker died", pid=worker.pid, **_exit_fields(worker.exitcode))
        self._deaths.append(time.monotonic())
        is_burst = len(self._deaths) == MAX_DEATHS and self._deaths[-1] - self._deaths[0] <= DEATH_SECONDS
        if is_burst and not self.failed:  # several workers may be found dead at once
            _log.error("service stopped: workers keep dying", deaths=MAX_DEATHS, seconds=DEATH_SECONDS)
            self.failed = True
            self.should_exit.set()


class _StopEvent(threading.Event):
    """Whether the service is stopping. A signal handler may set it, and the workers see it.

    It is set by closing one end of a pipe. So for the workers it is also set when the supervisor dies.
    """

    def __init__(self) -> None:
        super().__init__()
        self.other_end, self._end = multiprocessing.Pipe(duplex=False)

    def is_set(self) -> bool:
        return self._end.closed

    def set(self) -> None:
        with suppress(OSError):  # a second signal, whose handler interrupts that of the first
            self._end.close()

    def wait(self, timeout: float | None = None) -> bool:
        return self.other_end.poll(timeout)


class Worker(multiprocess.Process):
    """A process that runs a `GracefulServer`.

    It spends half a second on imports before its server handles signals. Ctrl-C and the closing of the terminal reach
    it at once, because it belongs to the terminal's process group. So these signals stay blocked until then.
    """

    is_hung = False
    """Whether the process was running but did not respond to the last ping."""
    _must_start_by: float | None = None
    """The time until which it need not respond because it is starting; None once it has responded."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket], *, supervisor: Connection) -> None:
        super().__init__(config, sockets)
        self._supervisor = supervisor

    def is_alive(self, timeout: float = 5) -> bool:
        """Return whether the worker responds within `timeout` seconds, or may still be starting."""
        if self._is_starting():
            return bool(self.process.is_alive())
        alive: bool = super().is_alive(timeout)
        self.is_hung = not alive and self.process.is_alive()
        return alive

    def is_ready(self, timeout: float = 5) -> bool:
        """Return whether the worker confirms within `timeout` seconds that it serves."""
        ready: bool = super().is_ready(timeout)
        if ready:
            self._must_start_by = None  # this may have been the response that `start` asked for
        return ready

    def wait_until_ready(self, timeout: float, should_exit: threading.Event | None = None) -> bool:
        """Return whether the worker serves within `START_SECONDS`, or `timeout` if that is longer."""
        ready: bool = super().wait_until_ready(max(timeout, START_SECONDS), should_exit)
        return ready

    def start(self) -> None:
        """Start the worker with the signals blocked, which it inherits."""
        resource_tracker.ensure_running()  # or starting a process starts it, and that unblocks SIGINT
        with blocked_signals():
            super().start()
        self._expect_response()

    def adopt(self, process: Fork) -> None:
        """Take over a process that runs `target`."""
        self.process = cast("Any", process)  # it has the methods of a SpawnProcess that uvicorn calls
        self._expect_response()

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve, in the new process."""
        _ = self.server  # created before the thread that responds to pings, or both threads might create one
        threading.Thread(target=self._stop_with_supervisor, daemon=True).start()
        try:
            super().target(sockets)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C would only print a traceback

    def _expect_response(self) -> None:
        self._must_start_by = time.monotonic() + START_SECONDS
        self.parent_conn.send(b"ping")  # the response shows that it has finished its imports

    def _is_starting(self) -> bool:
        if self._must_start_by is not None and self.parent_conn.poll():
            self.parent_conn.recv()
            self._must_start_by = None
        return self._must_start_by is not None and time.monotonic() < self._must_start_by

    @cached_property
    def server(self) -> uvicorn.Server:
        return GracefulServer(self.config, supervisor=self._supervisor)

    def _stop_with_supervisor(self) -> None:
        """Stop this worker gracefully, as at SIGTERM, when the service stops or the supervisor has died."""
        self._supervisor.poll(None)
        os.kill(os.getpid(), signal.SIGTERM)


def _exit_fields(exitcode: int | None) -> dict[str, object]:
    if exitcode is None or exitcode >= 0:
        return {"exit_code": exitcode}
    name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else str(-exitcode)
    return {"signal": name, **({"hint": "out of memory?"} if -exitcode == signal.SIGKILL else {})}
