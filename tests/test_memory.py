"""Large blocks are returned to the system, the heap is kept, and the garbage collector skips what exists at startup."""

import ctypes
import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from recipe_api.memory import CREATED_OBJECTS, configure_malloc, reduced_garbage_collection

PROBE = """
import ctypes
import sys
from recipe_api.memory import configure_malloc

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd".split()] + [
        ("rest", ctypes.c_size_t * 5)
    ]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info

def has_its_own_mapping(size):
    before = libc.mallinfo2().hblks
    part = bytearray(size)
    return libc.mallinfo2().hblks > before

if "configured" in sys.argv:
    configure_malloc()
del (large := [bytearray(20 << 20)])[0]  # by default, glibc then serves all smaller blocks from the heap
mapped = has_its_own_mapping(5 << 20), has_its_own_mapping(64 << 10)
chunks = [bytes(200 << 10) for _ in range(100)]
heap = libc.mallinfo2().arena
del chunks
kept = libc.mallinfo2().arena == heap
print(*mapped, kept)
"""


@pytest.fixture
def frozen_again() -> Iterator[None]:
    """Exclude the objects of the tests from garbage collections again, as tests/conftest.py does."""
    yield
    gc.freeze()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="mallinfo2 requires glibc 2.33 or newer")
@pytest.mark.parametrize(
    ("argument", "expected"), [("configured", [True, False, True]), ("default", [False, False, True])]
)
def test_a_large_block_always_has_its_own_mapping_and_the_heap_keeps_the_memory_of_freed_chunks(
    argument: str, expected: list[bool]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, argument], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == list(map(str, expected))


def test_malloc_is_configured_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delattr("ctypes.CDLL")

    configure_malloc()


@pytest.mark.usefixtures("frozen_again")
def test_within_the_block_the_collector_runs_rarely_and_skips_what_existed_before() -> None:
    default = gc.get_threshold()
    with reduced_garbage_collection():
        assert gc.get_freeze_count() > 1000
        late: list[object] = []
        assert any(late is found for found in gc.get_objects())
        assert gc.get_threshold()[0] == CREATED_OBJECTS
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == default
