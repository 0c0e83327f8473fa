"""JPEGs for benchmarks. Their segments are valid; what they show is noise."""

import random
import struct

FRAME = bytes.fromhex("ffc0 000b 08 0400 0300 01 01 11 00")
"""Baseline, 768 x 1024 pixels, one component."""
SCAN = bytes.fromhex("ffda 0008 01 01 00 00 3f 00")
START = bytes.fromhex("ffd8") + FRAME + SCAN
"""The shortest beginning of a photo. Any `noise` may follow."""
END = bytes.fromhex("ffd9")
METADATA_SHARE = 0.1
"""How much of a `photo` is metadata, at most."""
_EXTENDED = 50_000
"""The size in bytes of one segment of extended XMP."""


def noise(size: int, *, seed: int = 1) -> bytes:
    """Return `size` bytes of a scan, without markers and the same every time."""
    return random.Random(seed).randbytes(size).replace(b"\xff", b"\xfe")  # noqa: S311 - no secret


def photo(size: int) -> bytes:
    """Return a photo of `size` bytes with what a camera writes into one, the same every time.

    A tenth of it, or 24 kB if that is less, is metadata: Exif with a position, a maker note and a thumbnail; XMP.
    """
    tables = b"".join(_segment(0xDB, bytes([table]) + bytes(range(1, 65))) for table in range(2))
    codes = b"".join(_segment(0xC4, bytes([table]) + bytes(16)) for table in (0x00, 0x01, 0x10, 0x11))
    head = bytes.fromhex("ffd8") + metadata(metadata_bytes(size)) + tables + FRAME + codes + SCAN
    scan = noise(size - len(head) - len(END))
    stuffed = bytearray(scan)
    stuffed[100:-100:257] = b"\xff" * len(range(100, len(scan) - 100, 257))
    stuffed[101:-99:257] = b"\x00" * len(range(101, len(scan) - 99, 257))  # as encoders write a byte of 0xFF
    return head + bytes(stuffed) + END


def metadata_bytes(size: int) -> int:
    """Return how much of a photo of `size` bytes is metadata."""
    return min(int(size * METADATA_SHARE), 24_000)


def metadata(size: int) -> bytes:
    """Return `size` bytes of metadata, at least 1000: segments with Exif, XMP, and extended XMP to fill the rest."""
    xmp = _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>".ljust(900))
    further = _segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0".ljust(_EXTENDED - 4, b"\x55"))
    count, exif = divmod(size - len(xmp), _EXTENDED)
    if count and exif < len(xmp):
        count, exif = count - 1, exif + _EXTENDED
    return _segment(0xE1, _exif(exif - 4)) + xmp + further * count


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _exif(size: int) -> bytes:
    """An Exif segment of `size` bytes: orientation 6, a position, a maker note."""
    entries = [(0x0112, 3, 1, 6 << 16), (0x8825, 4, 1, 38)]
    directory = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)
    latitude = struct.pack(">H", 1) + struct.pack(">HHI4s", 1, 2, 2, b"N\0\0\0") + bytes(4)
    return (b"Exif\0\0MM\0*\0\0\0\x08" + directory + latitude).ljust(size, b"\x55")
