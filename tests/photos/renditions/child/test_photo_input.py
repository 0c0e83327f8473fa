"""A photo that is read while it arrives."""

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as some

from recipe_api.photos.renditions.child.photo_input import PhotoInput


class Pipe:
    """What comes through a pipe: fewer bytes at a time than asked for."""

    def __init__(self, data: bytes, chunk: int) -> None:
        self._file, self._chunk = io.BytesIO(data), chunk

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._chunk))


photos = some.binary(max_size=200)
chunks = some.integers(1, 50)
steps = some.lists(
    some.one_of(
        some.tuples(some.just("read"), some.integers(-1, 60)),
        some.tuples(some.just("to"), some.integers(0, 250)),
        some.tuples(some.just("by"), some.integers(0, 60)),
    ),
    max_size=12,
)


def apply(file: io.BytesIO | PhotoInput, step: str, number: int) -> bytes | int:
    if step == "read":
        return file.read(number)
    return file.seek(number, io.SEEK_SET if step == "to" else io.SEEK_CUR)


@given(photos, chunks, steps)
def test_it_can_be_read_like_a_file(photo: bytes, chunk: int, taken: list[tuple[str, int]]) -> None:
    arriving, file = PhotoInput(Pipe(photo, chunk)), io.BytesIO(photo)
    for step in taken:
        assert apply(arriving, *step) == apply(file, *step)
        assert arriving.tell() == file.tell()


@given(photos, chunks, steps, some.integers(0, 100), some.lists(some.integers(0, 60), max_size=12))
def test_it_can_be_read_once_more_while_it_is_dropped(
    photo: bytes, chunk: int, taken: list[tuple[str, int]], start: int, sizes: list[int]
) -> None:
    arriving, file = PhotoInput(Pipe(photo, chunk)), io.BytesIO(photo)
    for step in taken:
        apply(arriving, *step)
    arriving.drop_what_is_read()
    assert arriving.seek(start) == file.seek(start)
    for size in sizes:
        assert arriving.read(size) == file.read(size)


def test_what_was_dropped_cannot_be_read_again() -> None:
    arriving = PhotoInput(Pipe(bytes(100), 10))
    arriving.drop_what_is_read()
    assert len(arriving.read(60)) == 60
    with pytest.raises(OSError, match="being received"):
        arriving.seek(59)
    assert len(arriving.read(60)) == 40


def test_the_end_is_not_known() -> None:
    with pytest.raises(OSError, match="being received"):
        PhotoInput(Pipe(b"", 1)).seek(0, io.SEEK_END)


def test_an_end_can_be_added() -> None:
    arriving = PhotoInput(Pipe(b"photo", 3))
    arriving.end_with(b"!")
    assert (arriving.read(4), arriving.read(4), arriving.read(4)) == (b"phot", b"o!", b"")


def test_little_is_kept_while_it_is_dropped() -> None:
    arriving = PhotoInput(Pipe(bytes(1_000_000), 64_000))
    arriving.read(100)
    arriving.drop_what_is_read()
    arriving.seek(0)
    tracemalloc.start()
    while arriving.read(1000):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * 64_000
