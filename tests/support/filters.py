"""Runs photos through the filters that remove their metadata: in any chunks, truncated, and damaged."""

import random
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from recipe_api.errors import PhotoMalformed
from recipe_api.photos.filtering import Dimensions, PhotoFilter

FOLDER = Path(__file__).parent.parent / "photos"
SPREAD = 64
"""The number of bytes by which an output may exceed its input."""


def cleaned(kind: type[PhotoFilter], photo: bytes, cuts: Iterable[int] = ()) -> bytes:
    """Return the filtered photo, if it arrives in chunks that end at these offsets."""
    photo_filter, pieces = kind(), list[memoryview]()
    for start, end in pairwise([0, *sorted(cuts), len(photo)]):
        pieces += photo_filter.feed(memoryview(photo)[start:end])
    return b"".join([*pieces, *photo_filter.close()])


def dimensions(kind: type[PhotoFilter], photo: bytes) -> Dimensions | None:
    photo_filter = kind()
    photo_filter.feed(memoryview(photo))
    photo_filter.close()
    return photo_filter.dimensions


def rejection(kind: type[PhotoFilter], photo: bytes, cuts: Iterable[int] = ()) -> str:
    """Return the reason for which the filter rejects a photo."""
    with pytest.raises(PhotoMalformed) as caught:
        cleaned(kind, photo, cuts)
    assert caught.value.field == "photo"
    return caught.value.detail


def outcome(kind: type[PhotoFilter], photo: bytes, cuts: Iterable[int] = ()) -> bytes | str:
    """Return the output, or why the photo was rejected. Other errors and outputs that are too long fail the test."""
    try:
        output = cleaned(kind, photo, cuts)
    except PhotoMalformed as error:
        return error.detail
    assert len(output) <= len(photo) + SPREAD
    return output


def mutants(photos: Sequence[bytes], count: int, seed: int = 17) -> Iterator[bytes]:
    """Yield damaged copies of photos, always the same ones.

    Bytes are changed, removed, repeated, replaced by those of another photo, or cut off.
    """
    chance = random.Random(seed)  # noqa: S311
    for _ in range(count):
        photo = bytearray(chance.choice(photos))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at = chance.randrange(len(photo) + 1)
            end = min(len(photo), at + chance.choice((1, 2, 4, 8, 64)))
            match chance.randrange(7):
                case 0:
                    photo[at:end] = chance.randbytes(end - at)
                case 1:
                    photo[at:end] = chance.choice((b"\0", b"\xff", b"\x7f", b"\1")) * (end - at)
                case 2:
                    del photo[at:end]
                case 3:
                    photo[at:at] = photo[at:end] * chance.choice((1, 2, 9))
                case 4:
                    other = chance.choice(photos)
                    start = chance.randrange(len(other))
                    photo[at:end] = other[start : start + chance.choice((1, 4, 8, 64))]
                case 5 if at < len(photo):
                    photo[at] ^= 1 << chance.randrange(8)
                case _ if chance.random() < 0.2:
                    del photo[at:]
        yield bytes(photo)


def fuzz(kind: type[PhotoFilter], photos: Sequence[bytes], count: int, seed: int = 17) -> tuple[int, int]:
    """Filter damaged photos, whole and in chunks, and each output once more; return how many passed, and the total."""
    chance, passed, total = random.Random(seed), 0, 0  # noqa: S311
    for mutant in mutants(photos, count, seed):
        total += 1
        output = outcome(kind, mutant)
        cuts = (chance.randrange(len(mutant) + 1) for _ in range(chance.randrange(1, 5)))
        assert outcome(kind, mutant, cuts) == output, mutant.hex()
        if isinstance(output, bytes):
            passed += 1
            assert outcome(kind, output) == output, mutant.hex()
    return passed, total


def peak(kind: type[PhotoFilter], chunks: Iterable[bytes]) -> int:
    """Return the peak of allocated memory in bytes while a photo is filtered, including chunks and output."""
    photo_filter = kind()
    tracemalloc.start()
    try:
        for chunk in chunks:
            photo_filter.feed(memoryview(chunk))
        photo_filter.close()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
