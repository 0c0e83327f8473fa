"""What is told to those who look after a process's memory: the C library's allocator, and Python's collector.

The allocator is told which memory to give back. glibc takes large blocks from the system and returns them as soon as
they are free, but it raises its notion of large with each block that is freed, up to 32 MiB. After a while large blocks
come out of the common heap, which cannot shrink below its last live byte: measured, 30 MB a process under load. A fixed
bound keeps them apart. The blocks of photos, below that bound, come out of the heap. What is free at its end stays with
the process, as much as photos take at once; with the first bound fixed, glibc would keep 128 KiB, and fetch the rest
again for the next photo, which cost a twentieth of the CPU of any upload (docs/benchmarks.md, "What was tried").

The collector is told to leave alone what has been there from the start: code, settings, the models of SQLAlchemy and
botocore, some 150,000 objects that live as long as the process. Looking through all of them for garbage, again and
again, took a third of the CPU of small uploads, 70 ms at a time (docs/benchmarks.md, "What was tried"). And it is told
to come by more rarely. An upload leaves nothing to it, yet it came by for every eighth of them: those that are under
way at once make more objects than Python's default allows, 700 before 3.13.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_BYTES = 2 * 1024 * 1024
"""Above any block that is read into, below any that is worth the calls."""

KEPT_BYTES = 64 * 1024 * 1024
"""Of the heap's free end: what `UPLOAD_BUFFER_BYTES` grants by default, and some more."""

MADE_OBJECTS = 10_000
"""The collector comes by when so many more were made than freed. A large upload that fails leaves it some hundred."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def settle_malloc() -> None:
    """Does so for this process, from now on; elsewhere than on glibc, nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Has the collector pass over all that is there now, and come by rarely, for as long as the block lasts."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(MADE_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
