"""Runs one program, and stops it when the process that started this one (the owner) has exited.

    python guardian.py STOP_SIGNAL GRACE_SECONDS PROGRAM ARGUMENT…

Standard input is a pipe whose other end only the owner holds. When it closes, because the owner has closed it, exited
or been killed, the program gets the stop signal and, after the grace period, SIGKILL. So an orderly stop and a crash
take the same path. The owner cannot rely on `PR_SET_PDEATHSIG`, which depends on the *thread* that started the child.
The guardian has a single thread and can: if it is killed itself, the kernel stops the program.

This script uses only the standard library, so that it starts in about 20 ms.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def _stop_with(guardian: int, stop_signal: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != guardian:  # the guardian died between fork and prctl
            os._exit(1)

    return set_death_signal


def _wake_up_pipe() -> int:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in (signal.SIGCHLD, *_STOP_SIGNALS):
        signal.signal(number, lambda *_: None)
    return read


def _stop(program: subprocess.Popen[bytes], stop_signal: int, grace: float) -> None:
    program.send_signal(stop_signal)
    try:
        program.wait(grace)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def main(arguments: list[str]) -> int:
    """Run the program of `arguments`, and return its exit code, or 128 plus the signal that ended it."""
    stop_signal, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    owner, signals = sys.stdin.fileno(), _wake_up_pipe()
    set_death_signal = _stop_with(os.getpid(), stop_signal)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=set_death_signal) as program:  # noqa: PLW1509 - one thread
        while program.poll() is None:
            readable, _, _ = select.select([owner, signals], [], [])
            stopped = signals in readable and not _STOP_SIGNALS.isdisjoint(os.read(signals, 64))
            if stopped or owner in readable:
                _stop(program, stop_signal, grace)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
