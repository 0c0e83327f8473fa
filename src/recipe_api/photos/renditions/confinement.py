"""Limits what this process may use, before it looks at a stranger's photo."""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)
_MAX_FILES = 16
"""Standard streams, and the shared libraries that are opened while they are loaded."""
_NICENESS = 10


def confine(*, memory_bytes: int, cpu_seconds: int, parent: int) -> None:
    """Apply the limits to this process, and end it with its parent."""
    os.nice(_NICENESS)
    _end_with(parent)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
    ):
        resource.setrlimit(limit, (value, value))


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)
