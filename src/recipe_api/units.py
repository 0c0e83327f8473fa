"""Units of size, and sizes and durations as text."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_UNITS = (("MiB", MIB), ("MB", 1000**2), ("KiB", KIB), ("kB", 1000))
_FEW = 10_000
"""Sizes below this are easy to read as a number of bytes."""


def size_in_words(size: int) -> str:
    """Format a size exactly, in the largest unit that divides it: 64 MiB, 100 kB, 1,024 bytes, 166,560 bytes."""
    if size >= _FEW:
        for unit, unit_bytes in _UNITS:
            if size % unit_bytes == 0:
                return f"{size // unit_bytes} {unit}"
    return f"{size:,} byte{'' if size == 1 else 's'}"


def duration_in_words(seconds: int) -> str:
    """Format a duration, rounded up to whole units: 1 second, 90 seconds, 3 minutes, 2 hours."""
    for unit, unit_seconds, most in (("second", 1, 120), ("minute", 60, 120)):
        count = -(-seconds // unit_seconds)
        if count <= most:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{-(-seconds // 3600)} hours"
