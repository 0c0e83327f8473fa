"""Runs one program and ends it when the process that asked for it is gone, however it went.

    python guardian.py STOP_SIGNAL GRACE_SECONDS PROGRAM ARGUMENT…

Standard input is the lifeline: a pipe whose other end only the owner holds. When it closes (the owner closed it, ended
or was killed) the program gets the stop signal and, after the grace, SIGKILL. So there is one way of ending, in order
or in a crash, and it does not rest on `PR_SET_PDEATHSIG`, which is tied to the *thread* that spawned. That is used one
step further down: this process has one thread, so the kernel ends the program should the guardian itself be killed.

It is a script on the standard library alone, so that it starts in some 20 ms and imports nothing of the service.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CUT_OFF = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def _dies_with(guardian: int, stop_signal: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != guardian:  # it died between fork and prctl
            os._exit(1)

    return arrange


def _wake_up_pipe() -> int:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in (signal.SIGCHLD, *_CUT_OFF):
        signal.signal(number, lambda *_: None)
    return read


def _end(program: subprocess.Popen[bytes], stop_signal: int, grace: float) -> None:
    program.send_signal(stop_signal)
    try:
        program.wait(grace)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def main(arguments: list[str]) -> int:
    """Run the program of `arguments`; its exit code, or 128 and the signal that ended it."""
    stop_signal, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    lifeline, signals = sys.stdin.fileno(), _wake_up_pipe()
    arrangement = _dies_with(os.getpid(), stop_signal)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=arrangement) as program:  # noqa: PLW1509 - one thread
        while program.poll() is None:
            readable, _, _ = select.select([lifeline, signals], [], [])
            told = signals in readable and not _CUT_OFF.isdisjoint(os.read(signals, 64))
            if told or lifeline in readable:
                _end(program, stop_signal, grace)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
