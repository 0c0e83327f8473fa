"""The one property of Exif metadata that changes how a photo is displayed: its orientation.

Exif is a TIFF structure: a header of 8 bytes that gives the byte order, and directories (IFDs) of entries of 12 bytes.
The orientation is in the first directory (Exif 3.0 §4.6.5.1). Nothing else is kept.
"""

import struct

SIGNATURES = (b"II*\0", b"MM\0*")
"""How a TIFF structure begins: its byte order, and the number 42 in that order."""

_ORIENTATION = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12
_PORTRAIT = range(5, 9)
"""Orientations that swap width and height."""


def orientation(tiff: bytes) -> int:
    """Return the orientation, from 1 to 8. If it is missing or invalid, return 1, which means "as stored".

    Like browsers, this accepts only a single SHORT. It takes linear time, because it reads only one directory, and
    stops at the end of the structure.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    count = min(count, (len(tiff) - start - 2) // _ENTRY_BYTES)
    entries = tiff[start + 2 : start + 2 + count * _ENTRY_BYTES]
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHIH2x", entries):
        if tag == _ORIENTATION:
            return value if (kind, values) == (_SHORT, 1) and 1 <= value <= 8 else 1
    return 1


def minimal(value: int) -> bytes:
    """Return a TIFF structure of 26 bytes that has this orientation and nothing else."""
    entry = struct.pack(">HHIH2x", _ORIENTATION, _SHORT, 1, value)
    return struct.pack(">4sIH12sI", b"MM\0*", 8, 1, entry, 0)


def displayed(width: int, height: int, value: int) -> tuple[int, int]:
    """Return the width and height at which a photo with this orientation is displayed."""
    return (height, width) if value in _PORTRAIT else (width, height)
