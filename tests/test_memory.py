"""Large blocks go back to the system, the heap stays, and the collector passes over what is there from the start."""

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

def is_a_mapping_of_its_own(size):
    before = libc.mallinfo2().hblks
    part = bytearray(size)
    return libc.mallinfo2().hblks > before

if "told" in sys.argv:
    configure_malloc()
del (large := [bytearray(20 << 20)])[0]  # by itself, glibc now takes for small what is smaller than this
mapped = is_a_mapping_of_its_own(5 << 20), is_a_mapping_of_its_own(64 << 10)
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
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc from 2.33 on tells")
@pytest.mark.parametrize(("argument", "expected"), [("told", [True, False, True]), ("as it is", [False, False, True])])
def test_a_large_block_is_always_a_mapping_of_its_own_and_the_heap_keeps_what_chunks_left(
    argument: str, expected: list[bool]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, argument], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == list(map(str, expected))


def test_elsewhere_than_on_linux_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delattr("ctypes.CDLL")

    configure_malloc()


@pytest.mark.usefixtures("frozen_again")
def test_the_collector_comes_rarely_and_passes_over_what_was_there_for_as_long_as_it_is_asked() -> None:
    default = gc.get_threshold()
    with reduced_garbage_collection():
        assert gc.get_freeze_count() > 1000
        late: list[object] = []
        assert any(late is found for found in gc.get_objects())
        assert gc.get_threshold()[0] == CREATED_OBJECTS
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == default
