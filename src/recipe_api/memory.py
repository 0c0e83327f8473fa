"""Tunes the C library's memory allocator and Python's garbage collector.

Allocator: glibc allocates large blocks with mmap and returns them to the system once they are free. But each freed
block raises the threshold for "large", up to 32 MiB. Then large blocks come from the heap as well, which cannot shrink
below its last used byte; this cost 30 MB per process under load. A fixed threshold prevents that. The blocks of photos
are below the threshold and come from the heap. A fixed threshold would also make glibc return all but 128 KiB of free
memory at the end of the heap, only to allocate it again for the next photo, which cost a twentieth of the CPU time of
any upload (docs/benchmarks.md, "What was tried"). So the process keeps as much as concurrent uploads need.

Collector: about 150,000 objects are created at startup and live as long as the process: code, settings, the models of
SQLAlchemy and botocore. Scanning them again and again took a third of the CPU time of small uploads, 70 ms at a time,
so they are frozen. And collections are rarer. An upload leaves no garbage for the collector, but every eighth upload
triggered a collection, because concurrent uploads create more objects than Python's default threshold (700 before
3.13).
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_BYTES = 2 * 1024 * 1024
"""The mmap threshold: larger than any read buffer, so that those come from the heap."""

KEPT_BYTES = 64 * 1024 * 1024
"""Free memory at the end of the heap that is not returned: the default of `UPLOAD_BUFFER_BYTES`, and a margin."""

CREATED_OBJECTS = 10_000
"""A collection starts when this many more objects were created than freed. A failed large upload leaves some hundred
to the collector."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def configure_malloc() -> None:
    """Set the thresholds of the allocator for this process; do nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def permanent_objects() -> Iterator[None]:
    """Collect no garbage while the block creates objects, and exempt them from garbage collection afterwards.

    For imports: these trigger many collections, which find next to nothing and take a tenth of the imports' CPU time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


@contextmanager
def temporary_objects() -> Iterator[None]:
    """Free what the block leaves behind, including reference cycles, without examining older objects."""
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


@contextmanager
def reduced_garbage_collection() -> Iterator[None]:
    """Exempt all present objects from garbage collection, and make collections rare, while the block lasts."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(CREATED_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
