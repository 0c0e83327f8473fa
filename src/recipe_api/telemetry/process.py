"""The memory and the CPU time of this process."""

import os
from collections.abc import Iterator
from pathlib import Path

from recipe_api.telemetry import metrics
from recipe_api.telemetry.observer import Observer, Reading

_STATM = Path("/proc/self/statm")


def observe_process(observer: Observer) -> None:
    """Report memory, on Linux only, and CPU time."""
    observer.observe(metrics.PROCESS_CPU, _cpu_seconds)
    if _STATM.exists():
        observer.observe(metrics.PROCESS_MEMORY, _memory_bytes)


def _cpu_seconds() -> Iterator[Reading]:
    times = os.times()
    yield times.user, ("user",)
    yield times.system, ("system",)


def _memory_bytes() -> Iterator[Reading]:
    yield int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"), ()
