"""Memory goes back to the system when a part has been sent, and the collector passes over what is there to stay."""

import ctypes
import gc
import subprocess
import sys

import pytest

from recipe_api.memory import return_large_blocks, startup_kept

PROBE = """
import ctypes
import sys
from recipe_api.memory import return_large_blocks

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
    return_large_blocks()
del (large := [bytearray(20 << 20)])[0]  # by itself, glibc now takes for small what is smaller than this
print(is_a_mapping_of_its_own(5 << 20), is_a_mapping_of_its_own(64 << 10))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc from 2.33 on tells")
@pytest.mark.parametrize(("argument", "expected"), [("told", ["True", "False"]), ("as it is", ["False", "False"])])
def test_a_part_is_a_mapping_of_its_own_also_after_larger_ones(argument: str, expected: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, argument], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == expected


def test_elsewhere_than_on_linux_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delattr("ctypes.CDLL")

    return_large_blocks()


def test_the_collector_passes_over_what_was_there_from_the_start_and_no_longer_than_asked() -> None:
    with startup_kept():
        assert gc.get_freeze_count() > 1000
        late: list[object] = []
        assert any(late is found for found in gc.get_objects())
    assert gc.get_freeze_count() == 0
