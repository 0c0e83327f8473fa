"""The memory of a process and its children, sampled while they work.

PSS counts a page that several processes share once over all of them, as a dyno's quota does; RSS counts it for each.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.2
SETTLED_BYTES = 512 * 1024
"""Memory that changes by less between two samples is stable."""
_KIB = 1024


@dataclass(slots=True)
class Footprint:
    """The samples, in bytes."""

    idle: dict[int, int] = field(default_factory=dict)
    """PSS of each process by pid, before the load."""
    at_peak: dict[int, int] = field(default_factory=dict)
    """The same at the peak of the sum."""
    peak_rss: int = 0
    """The peak of the sum."""
    files: set[str] = field(default_factory=set)
    """Regular files that a process had open."""


@contextmanager
def watched(pid: int, *, every_seconds: float = SAMPLE_SECONDS) -> Iterator[Footprint]:
    """Sample the process tree of `pid` until the block ends."""
    tree = psutil.Process(pid)
    footprint = Footprint(idle=_pss(tree))
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(tree, footprint, done, every_seconds))
    watcher.start()
    try:
        yield footprint
    finally:
        done.set()
        watcher.join()


def written_bytes(pid: int) -> int:
    """Return how many bytes the process tree has written to disks; sockets and pipes do not count."""
    return sum(process.io_counters().write_bytes for process in _tree(psutil.Process(pid)))


def _watch(tree: psutil.Process, footprint: Footprint, done: threading.Event, every_seconds: float) -> None:
    while not done.wait(every_seconds):
        footprint.at_peak = max(footprint.at_peak, _pss(tree), key=lambda pss: sum(pss.values()))
        for process in _tree(tree):
            with suppress(psutil.NoSuchProcess):
                footprint.files |= {found.path for found in process.open_files()}
        footprint.peak_rss = max(footprint.peak_rss, sum(_rss_of(process) for process in _tree(tree)))


def _pss(tree: psutil.Process) -> dict[int, int]:
    return {process.pid: _pss_of(process.pid) for process in _tree(tree)}


def _rss_of(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _pss_of(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _KIB
    return 0


def _tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def pss(pid: int) -> int:
    """Return the PSS of the process tree."""
    return sum(_pss(psutil.Process(pid)).values())


def settled(pid: int, *, seconds: float = 3.0) -> None:
    """Wait until the memory of the tree is stable after its start and children that run only for a while have ended."""
    before = 0
    while abs((now := pss(pid)) - before) > SETTLED_BYTES:
        before = now
        time.sleep(seconds)
