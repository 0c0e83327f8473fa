"""Computes ThumbHashes: placeholders of up to 25 bytes, which decode to a blurred version of a photo.

The format is ThumbHash (https://evanw.github.io/thumbhash/): the lowest frequencies of a discrete cosine transform of
the luminance (L), of yellow against blue (P), of red against green (Q), and of the opacity (A), unless the image is
opaque. For each, there are an average, a scale, and the other frequencies as shares of the scale.

    3 bytes  averages of L, P and Q (6 bits each), scale of L (5 bits), whether A is included
    2 bytes  number of frequencies of L along the shorter side (3 bits), scales of P and Q (6 bits each), whether the
             image is wider than it is high
    1 byte   average and scale of A (4 bits each), if it is included
    rest     the other frequencies of L, P, Q and A (4 bits each)
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import cos, floor, pi
from operator import mul
from typing import NamedTuple

_OPAQUE, _TRANSPARENT = 7, 5
"""Number of frequencies of L along the longer side."""
_LEAST = 3
"""Minimum number of frequencies of L in each direction, and the number of those of P and Q."""


class _Channel(NamedTuple):
    average: float
    scale: float
    shares: list[float]
    """From 0 to 1; 0.5 stands for 0."""


def thumbhash(width: int, height: int, rgba: Sequence[int]) -> bytes:
    """Return the ThumbHash of an image. It should be small: more than 100 pixels a side cost time and add nothing.

    Args:
        width: The number of columns.
        height: The number of rows.
        rgba: Red, green, blue and opacity of each pixel, row by row. Colours are not premultiplied.
    """
    opacity = [value / 255 for value in rgba[3::4]]
    has_alpha = min(opacity) < 1
    red, green, blue = (_over_average(rgba[channel::4], opacity) for channel in range(3))
    grey = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    red_green = [r - g for r, g in zip(red, green, strict=True)]

    most = _TRANSPARENT if has_alpha else _OPAQUE
    columns, rows = (max(_rounded(most * side / max(width, height)), 1) for side in (width, height))
    lum = _channel(grey, width, columns=max(columns, _LEAST), rows=max(rows, _LEAST))
    p = _channel(yellow_blue, width, columns=_LEAST, rows=_LEAST)
    q = _channel(red_green, width, columns=_LEAST, rows=_LEAST)
    a = [_channel(opacity, width, columns=_TRANSPARENT, rows=_TRANSPARENT)] if has_alpha else []

    bits = _Bits()
    bits.add(63 * lum.average, 6)
    for channel in (p, q):
        bits.add(31.5 + 31.5 * channel.average, 6)
    bits.add(31 * lum.scale, 5)
    bits.add(has_alpha, 1)
    bits.add(min(columns, rows), 3)
    for channel in (p, q):
        bits.add(63 * channel.scale, 6)
    bits.add(width > height, 1)
    for channel in a:
        bits.add(15 * channel.average, 4)
        bits.add(15 * channel.scale, 4)
    for share in chain.from_iterable(channel.shares for channel in (lum, p, q, *a)):
        bits.add(15 * share, 4)
    return bits.to_bytes()


class _Bits:
    """A sequence of small integers, packed from the least significant bit."""

    def __init__(self) -> None:
        self._number = 0
        self._length = 0

    def add(self, value: float, bits: int) -> None:
        """Append a number, rounded to an integer."""
        self._number |= _rounded(value) << self._length
        self._length += bits

    def to_bytes(self) -> bytes:
        return self._number.to_bytes((self._length + 7) // 8, "little")


def _over_average(channel: Sequence[int], opacity: Sequence[float]) -> list[float]:
    """Return a channel of the image, drawn over its average colour."""
    values = [value / 255 for value in channel]
    visible = sum(opacity)
    average = sum(map(mul, values, opacity)) / visible if visible else 0.0
    return [average + share * (value - average) for value, share in zip(values, opacity, strict=True)]


def _channel(values: Sequence[float], width: int, *, columns: int, rows: int) -> _Channel:
    """Return the lowest frequencies of a channel: those of a triangle with this many columns and rows."""
    average, *others = _frequencies(values, width, columns=columns, rows=rows)
    scale = max(map(abs, others))
    return _Channel(average, scale, [0.5 + 0.5 * other / scale if scale else 0.0 for other in others])


def _frequencies(values: Sequence[float], width: int, *, columns: int, rows: int) -> Iterator[float]:
    """Yield the coefficients of the cosine transform. It is separable: first along the rows, then along the columns."""
    height = len(values) // width
    lines = [values[start : start + width] for start in range(0, len(values), width)]
    waves = [_wave(column, width) for column in range(columns)]
    along_rows = [[sum(map(mul, line, wave)) for line in lines] for wave in waves]
    for row in range(rows):
        wave = _wave(row, height)
        for column in range(columns):
            if column * rows < columns * (rows - row):
                yield sum(map(mul, along_rows[column], wave)) / len(values)


def _wave(frequency: int, length: int) -> list[float]:
    return [cos(pi / length * frequency * (at + 0.5)) for at in range(length)]


def _rounded(value: float) -> int:
    """Return the nearest integer; round halves up, as the reference implementation does."""
    return floor(value + 0.5)
