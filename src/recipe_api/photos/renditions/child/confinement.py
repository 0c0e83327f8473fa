"""Limits the resources of this process before it reads an untrusted photo."""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_NICENESS = 10
"""Beside a busy server, it gets a tenth of a CPU, which is enough to finish within its time limit."""
_MAX_FILES = 16
"""The standard streams, the lock, and the modules and libraries that are being loaded."""
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # prctl(2)
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h
_LARGE_BYTES = 1024 * 1024


def confine(*, memory_bytes: int, cpu_seconds: int, may_start_threads: bool, parent: int) -> None:
    """Apply the limits to this process, and make the kernel kill it when its parent dies.

    Unless it needs threads, it can start neither threads nor processes. That limit does not apply to root.

    SIGINT and SIGTERM are ignored, and the parent handles them: a terminal and Heroku send them to all processes, and
    the parent must not mistake their effect for a crash that the photo caused.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(_NICENESS)
    if sys.platform == "linux":
        _confine_linux(memory_bytes)
    if os.getppid() != parent:  # it died before PR_SET_PDEATHSIG took effect
        sys.exit("The parent process has ended.")
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        _limit(limit, value)
    if not may_start_threads:
        _limit(resource.RLIMIT_NPROC, 0)


def _limit(limit: int, value: int) -> None:
    """Set a limit, unless the present one is lower."""
    _, present = resource.getrlimit(limit)
    lowest = value if present == resource.RLIM_INFINITY else min(value, present)
    resource.setrlimit(limit, (lowest, lowest))


def _confine_linux(memory_bytes: int) -> None:
    """Apply the limits that only Linux has. On macOS, no memory limit works."""
    _limit(resource.RLIMIT_AS, memory_bytes)
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if hasattr(library, "mallopt"):  # glibc
        library.mallopt(_M_ARENA_MAX, 1)  # each arena reserves 64 MiB of address space
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)  # freed memory is returned at once
    with suppress(OSError):  # a container may not permit it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # if memory runs out, end this process
