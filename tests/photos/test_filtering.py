"""The steps of a filter's program, in a simple format: a byte that names a step, a byte of length, then data."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.errors import PhotoMalformed
from recipe_api.photos.filtering import MAX_READ, PhotoFilter, Steps


class Script(PhotoFilter):
    """Runs the steps that the photo contains."""

    def program(self) -> Steps:
        while (head := (yield from self.peek(2)))[:1] != b".":
            step, size = head[:1], head[1]
            yield from self.skip(2)
            if step == b"c":
                yield from self.copy(size)
            elif step == b"s":
                yield from self.skip(size)
            elif step == b"r":
                self.emit((yield from self.read(size)).upper())
            elif step == b"o":
                yield from self.overwrite(size, b"content", memoryview(b"--"))
            elif step == b"p":
                self.emit((yield from self.peek(size)))
            elif step == b"a":
                yield from self.copy(min(1, len((yield from self.arrived()))))
            elif step == b"*":
                yield from self.copy_rest()


class Reader(PhotoFilter):
    """Reads one header of a size that only the program knows."""

    size = MAX_READ

    def program(self) -> Steps:
        self.emit((yield from self.read(self.size)))


def filtered(photo: bytes, *cuts: int) -> bytes:
    """Return the output for a script that arrives in chunks, which end at these offsets."""
    script, pieces = Script(), list[memoryview]()
    edges = [0, *sorted(cuts), len(photo)]
    for start, end in pairwise(edges):
        pieces += script.feed(memoryview(photo)[start:end])
    return b"".join([*pieces, *script.close()])


@pytest.mark.parametrize(
    ("photo", "output"),
    [
        (b"c\3abc", b"abc"),
        (b"s\3abcc\2de", b"de"),
        (b"r\3abcc\2de", b"ABCde"),
        (b"p\3c\1xc\1y", b"c\1xxy"),
        (b"a\0xa\0y", b"xy"),
        (b"c\1xa\0yr\1zs\1-", b"xyZ"),
        (b"o\3abcc\1x", b"conx"),
        (b"o\x0cabcdefghijklc\1x", b"content-----x"),
        (b"*\0what follows", b"what follows"),
        (b"c\1x.\0dropped", b"x"),
        pytest.param(b"c\5abc", b"abc", id="cut off while it is copied"),
        pytest.param(b"c\1xr\5abc", b"x", id="cut off while it is read"),
        pytest.param(b"c\1xs\5abc", b"x", id="cut off while it is dropped"),
        pytest.param(b"o\x0aabcdefgh", b"content-", id="cut off while it is overwritten"),
        pytest.param(b"", b"", id="empty"),
    ],
)
def test_every_step_has_the_same_output_wherever_the_photo_is_cut(photo: bytes, output: bytes) -> None:
    assert filtered(photo) == output
    assert filtered(photo, *range(1, len(photo))) == output
    for cut in range(len(photo) + 1):
        assert filtered(photo, cut) == output


_STEPS = st.tuples(st.sampled_from([b"c", b"s", b"r", b"p", b"o", b"a"]), st.binary(max_size=255)).map(
    lambda step: step[0] + bytes([len(step[1])]) + step[1]
)


@given(st.lists(_STEPS, max_size=8).map(b"".join), st.lists(st.integers(0, 2000), max_size=6))
def test_the_output_is_the_same_however_the_photo_is_cut(photo: bytes, cuts: list[int]) -> None:
    assert filtered(photo, *(min(cut, len(photo)) for cut in cuts)) == filtered(photo)


def test_passes_what_is_copied_without_a_gap_as_one_view_of_the_chunk() -> None:
    class Copier(PhotoFilter):
        def program(self) -> Steps:
            for _ in range(3):
                yield from self.peek(2)
                yield from self.copy(400)
            yield from self.skip(4)
            yield from self.copy(400)

    photo = bytes(range(251)) * 7
    pieces = Copier().feed(memoryview(photo))
    assert pieces == [photo[:1200], photo[1204:1604]]
    assert all(piece.obj is photo for piece in pieces)


def test_copies_what_is_left_of_a_chunk_if_it_is_little() -> None:
    class Beginning(PhotoFilter):
        def program(self) -> Steps:
            yield from self.copy(300)

    for size, is_view in (400, True), (401, False):
        chunk = bytes(size)
        (piece,) = Beginning().feed(memoryview(chunk))
        assert piece == chunk[:300]
        assert (piece.obj is chunk) is is_view


def test_joins_short_pieces() -> None:
    photo = b"c\1-s\2++" * 1000 + b"c\xff" + bytes(255) + b"s\2++" + b"*\0" + bytes(256)
    script = Script()
    pieces = script.feed(memoryview(photo))
    assert [bytes(piece) for piece in pieces] == [b"-" * 1000 + bytes(255), bytes(256)]


def test_finds_what_follows_a_header_that_was_cut() -> None:
    """Otherwise a program that looks ahead by one byte would go on byte by byte."""

    class Looker(PhotoFilter):
        seen: list[int]

        def program(self) -> Steps:
            self.seen = []
            while True:
                yield from self.peek(2)
                view = yield from self.arrived()
                self.seen.append(len(view))
                yield from self.copy(len(view) - 1)

    looker = Looker()
    looker.feed(memoryview(b"x" * 100))
    looker.feed(memoryview(b"x" * 10_000))
    looker.close()
    assert looker.seen == [100, 4097, 4097, 1809]


@pytest.mark.parametrize("pieces", [1, 1000])
def test_a_program_reads_at_most_1_mib_at_once(pieces: int) -> None:
    photo = memoryview(bytes(MAX_READ + 1))
    step = -(-len(photo) // pieces)
    chunks = [photo[at : at + step] for at in range(0, len(photo), step)]
    reader = Reader()
    assert sum(len(piece) for chunk in chunks for piece in reader.feed(chunk)) == MAX_READ

    class Greedy(Reader):
        size = MAX_READ + 1

    with pytest.raises(PhotoMalformed) as refused:
        _ = [Greedy().feed(chunk) for chunk in chunks]
    assert refused.value.field == "photo"


def test_dropping_nothing_makes_no_gap() -> None:
    class Copier(PhotoFilter):
        def program(self) -> Steps:
            yield from self.copy(400)
            yield from self.skip(0)
            yield from self.copy(400)

    assert [len(piece) for piece in Copier().feed(memoryview(bytes(800)))] == [800]


def test_a_photo_that_has_ended_accepts_no_more_data() -> None:
    script = Script()
    assert script.feed(memoryview(b"c\1x.\0c\1y")) == [b"x"]
    assert script.feed(memoryview(b"c\1y")) == []
    assert script.close() == []
