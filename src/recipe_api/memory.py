"""What is told to those who look after a process's memory: the C library's allocator, and Python's collector.

The allocator is told to give memory back. glibc takes large blocks from the system and returns them as soon as they
are free, but it raises its notion of large with each block that is freed, up to 32 MiB. After a while the parts of
photos come out of the common heap, which cannot shrink below its last live byte: measured, 30 MB a process under load.
A fixed bound keeps parts apart, and lets a part that grows move without being copied.

The collector is told to leave alone what has been there from the start: code, settings, the models of SQLAlchemy and
botocore, some 150,000 objects that live as long as the process. Looking through all of them for garbage, again and
again, took a third of the CPU of small uploads, 70 ms at a time (docs/benchmarks.md, "What was tried").
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_BYTES = 256 * 1024
"""Above any chunk that comes from a socket, below any part that is worth the calls."""

_M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_blocks() -> None:
    """Does so for this process, from now on; elsewhere than on glibc, nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


@contextmanager
def startup_kept() -> Iterator[None]:
    """Has the collector pass over all that is there now, for as long as the block lasts."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
