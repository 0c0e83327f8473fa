"""Finding the orientation in Exif metadata, and writing it alone."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from recipe_api.photos import exif

_SHORT, _LONG = 3, 4


def tiff(*entries: tuple[int, int, int, int], order: str = "<", start: int = 8, count: int | None = None) -> bytes:
    """Return a TIFF structure whose first directory has these entries: tag, type, count, and a 16-bit value."""
    header = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start)
    size = struct.pack(f"{order}H", len(entries) if count is None else count)
    packed = b"".join(struct.pack(f"{order}HHIH2x", *entry) for entry in entries)
    return header.ljust(start, b"\0") + size + packed + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_finds_the_orientation_in_either_byte_order(order: str, value: int) -> None:
    block = tiff((0x010F, 2, 4, 0), (0x0112, _SHORT, 1, value), (0x0132, 2, 20, 0), order=order)
    assert exif.orientation(block) == value


def test_finds_a_directory_that_does_not_follow_the_header() -> None:
    assert exif.orientation(tiff((0x0112, _SHORT, 1, 6), start=100)) == 6


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"MM\0*\0\0\0", id="cut in the header"),
        pytest.param(b"XX" + tiff((0x0112, _SHORT, 1, 6))[2:], id="unknown byte order"),
        pytest.param(tiff((0x0112, _SHORT, 1, 6))[:4] + b"\xff" * 4, id="directory outside"),
        pytest.param(tiff((0x0112, _SHORT, 1, 6))[:8], id="no directory"),
        pytest.param(tiff((0x0112, _SHORT, 1, 6))[:21], id="cut in the entry"),
        pytest.param(tiff((0x010F, _SHORT, 1, 6)), id="no orientation"),
        pytest.param(tiff((0x0112, _SHORT, 1, 6), count=0), id="after the end of the directory"),
        pytest.param(tiff((0x0112, _SHORT, 1, 0)), id="0"),
        pytest.param(tiff((0x0112, _SHORT, 1, 9)), id="9"),
        pytest.param(tiff((0x0112, _SHORT, 2, 6)), id="two values"),
        pytest.param(tiff((0x0112, _LONG, 1, 6)), id="wrong type"),
        pytest.param(tiff((0x0112, _SHORT, 1, 1), (0x0112, _SHORT, 1, 6)), id="only the second"),
    ],
)
def test_takes_a_missing_or_invalid_orientation_as_none(block: bytes) -> None:
    assert exif.orientation(block) == 1


def test_reads_a_directory_that_is_larger_than_the_structure_as_far_as_it_goes() -> None:
    assert exif.orientation(tiff((0x0112, _SHORT, 1, 8), count=0xFFFF)) == 8


@given(st.binary(max_size=64), st.sampled_from(["II*\0", "MM\0*", ""]))
def test_never_fails(rest: bytes, signature: str) -> None:
    assert exif.orientation(signature.encode() + rest) in range(1, 9)


@pytest.mark.parametrize("value", range(1, 9))
def test_writes_the_orientation_and_nothing_else(value: int) -> None:
    block = exif.minimal(value)
    read = Image.Exif()
    read.load(b"Exif\0\0" + block)
    assert len(block) == 26
    assert dict(read) == {0x0112: value}
    assert exif.orientation(block) == value


@pytest.mark.parametrize("value", range(1, 9))
def test_orientations_from_5_on_exchange_width_and_height(value: int) -> None:
    assert exif.displayed(4, 3, value) == ((3, 4) if value >= 5 else (4, 3))
