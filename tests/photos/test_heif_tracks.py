"""Image sequences in HEIF files: the images stay; other tracks, times and names go."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from recipe_api.photos.heif import HeifFilter
from recipe_api.photos.heif_tracks import MAX_TRACKS
from tests.support.filters import cleaned, dimensions, fuzz, rejection
from tests.support.heif import PIXELS, Layout, box, full, heif, number

SECRET = b"52.520008N 13.404954E"
FTYP = b"\0\0\0\x18ftypavis\0\0\0\0msf1avis"
FRAMES = (b"a first frame", b"another frame", b"the last of the frames")
TIME = b"TIME"


@dataclass(frozen=True)
class Track:
    """A track, and how it is written. Each group of samples is a chunk."""

    handler: bytes = b"pict"
    chunks: Sequence[Sequence[bytes]] = (FRAMES[:2], FRAMES[2:])
    coding: bytes = b"av01"
    is_wide: bool = False
    """Whether offsets and times have 64 bits."""
    matrix: tuple[int, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    time: bytes = TIME
    name: bytes = SECRET
    extra: bytes = b""
    """Other boxes in it."""
    flags: int = 1
    """Of the address of its data: 1 if it is in this file."""

    def written(self, start: int) -> bytes:
        times = self.time * (4 if self.is_wide else 2)
        version = int(self.is_wide)
        length = 8 if self.is_wide else 4
        header = (times, number(1), bytes(4), bytes(length), bytes(16), *(number(one) for one in self.matrix), bytes(8))
        url = full(b"dref", 0, number(1), full(b"url ", 0, self.name, flags=self.flags))
        media = (
            full(b"mdhd", version, times, number(10), bytes(length), bytes(4)),
            full(b"hdlr", 0, bytes(4), self.handler, bytes(12), self.name),
            box(b"minf", full(b"vmhd", 0, bytes(8)), box(b"dinf", url), self._table(start)),
        )
        edits = box(b"edts", full(b"elst", 0, number(1), bytes(12)))
        return box(b"trak", full(b"tkhd", version, *header), edits, box(b"mdia", *media), self.extra)

    def _table(self, start: int) -> bytes:
        name = self.name[:31].ljust(32, b"\0")
        fields = (bytes(24), number(30, 2), number(20, 2), bytes(14), name, bytes(4))
        sizes = [len(sample) for chunk in self.chunks for sample in chunk]
        offsets, at = [], start
        for chunk in self.chunks:
            offsets.append(at)
            at += sum(len(sample) for sample in chunk)
        grouping = [number(at, 4) + number(len(chunk), 4) + number(1, 4) for at, chunk in enumerate(self.chunks, 1)]
        width = 8 if self.is_wide else 4
        return box(
            b"stbl",
            full(
                b"stsd", 0, number(1), box(self.coding, *fields, box(b"av1C", b"\x81\0\0\0"), box(b"abcd", self.name))
            ),
            full(b"stts", 0, bytes(4)),
            full(b"stsz", 0, bytes(4), number(len(sizes)), *(number(size) for size in sizes)),
            full(b"stsc", 0, number(len(grouping)), *grouping),
            full(
                b"co64" if self.is_wide else b"stco", 0, number(len(offsets)), *(number(one, width) for one in offsets)
            ),
        )

    @property
    def data(self) -> bytes:
        return b"".join(b"".join(chunk) for chunk in self.chunks)


def sequence(
    *tracks: Track, extra: bytes = b"", time: bytes = TIME, is_data_first: bool = False, gap: bytes = b""
) -> bytes:
    """Return a file of these tracks, with a gap before the data of each."""

    def movie(start: int) -> bytes:
        written = []
        for track in tracks:
            start += len(gap)
            written.append(track.written(start))
            start += len(track.data)
        return box(b"moov", full(b"mvhd", 0, time * 2, bytes(88)), *written, extra)

    data = box(b"mdat", *(gap + track.data for track in tracks))
    if is_data_first:
        return FTYP + data + movie(len(FTYP) + 8)
    return FTYP + movie(len(FTYP) + len(movie(0)) + 8) + data


CLEAN = Track(time=bytes(4), name=bytes(len(SECRET)))
METADATA = Track(handler=b"meta", chunks=((SECRET, SECRET),), coding=b"mett")


def _expected(photo: bytes) -> bytes:
    """Return the photo with its box of an unknown type as free space; its tracks stay as they are."""
    return photo.replace(box(b"abcd", bytes(len(SECRET))), box(b"free", bytes(len(SECRET))))


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("is_data_first", [False, True])
@pytest.mark.parametrize("handler", [b"pict", b"vide", b"auxv"])
def test_images_stay_and_times_and_names_go(*, is_wide: bool, is_data_first: bool, handler: bytes) -> None:
    track = Track(handler=handler, is_wide=is_wide)
    clean = Track(handler=handler, is_wide=is_wide, time=CLEAN.time, name=CLEAN.name)
    photo = sequence(track, track, is_data_first=is_data_first, gap=SECRET)
    expected = _expected(sequence(clean, clean, time=bytes(4), is_data_first=is_data_first, gap=bytes(len(SECRET))))
    assert cleaned(HeifFilter, photo) == expected
    assert cleaned(HeifFilter, photo, range(1, len(photo))) == expected
    assert cleaned(HeifFilter, expected) == expected


@pytest.mark.parametrize("handler", [b"meta", b"mdta", b"soun", b"text", b"sbtl", b"hint", b"\0\0\0\0"])
@pytest.mark.parametrize("is_data_first", [False, True])
def test_a_track_without_images_becomes_free_space_and_its_samples_are_blanked(
    handler: bytes, *, is_data_first: bool
) -> None:
    other = Track(handler=handler, chunks=METADATA.chunks, coding=b"mett")
    photo = sequence(Track(), other, is_data_first=is_data_first)
    output = cleaned(HeifFilter, photo)
    assert len(output) == len(photo)
    assert photo.count(b"trak") == 2
    assert output.count(b"trak") == 1
    assert SECRET not in output
    assert b"".join(FRAMES) in output


@pytest.mark.parametrize("kind", [b"udta", b"meta", b"uuid", b"iods", b"abcd"])
def test_other_boxes_become_free_space_at_every_level(kind: bytes) -> None:
    vendor = box(kind, SECRET)
    output = cleaned(HeifFilter, sequence(Track(extra=vendor), extra=vendor))
    assert SECRET not in output
    assert output.count(box(b"free", bytes(len(SECRET)))) == 3  # with that in the description of the samples


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), (30, 20)),
        ((0, 1, 0, 1, 0, 0, 0, 0, 1), (20, 30)),
        ((2, 0, 0, 0, 2, 0, 0, 0, 1), (30, 20)),
    ],
)
def test_its_dimensions_are_as_displayed(matrix: tuple[int, ...], expected: tuple[int, int]) -> None:
    for is_wide in (False, True):
        photo = sequence(Track(handler=b"auxv"), Track(matrix=matrix, is_wide=is_wide))
        assert dimensions(HeifFilter, photo) == expected


def test_the_samples_of_equal_size_need_no_table() -> None:
    photo = sequence(CLEAN)
    track = Track(chunks=((b"12345", b"12345"), (b"12345",)), time=CLEAN.time, name=CLEAN.name)
    photo = _expected(sequence(track, time=bytes(4)))
    table = full(b"stsz", 0, bytes(4), number(3), number(5) * 3)
    constant = full(b"stsz", 0, number(5), number(3)) + box(b"free", bytes(4))
    assert cleaned(HeifFilter, photo.replace(table, constant)) == photo.replace(table, constant)
    fewer = full(b"stsz", 0, number(5), number(2)) + box(b"free", bytes(4))
    assert cleaned(HeifFilter, photo.replace(table, fewer))[-15:] == b"1234512345" + bytes(5)


def test_an_entry_holds_for_all_chunks_until_the_next() -> None:
    chunks = tuple((bytes([at]) * 3, bytes([at]) * 4) for at in range(1, 5))
    photo = _expected(sequence(Track(chunks=chunks, time=CLEAN.time, name=CLEAN.name), time=bytes(4)))
    entries = [number(at) + number(2) + number(1) for at in range(1, 5)]
    table = full(b"stsc", 0, number(4), *entries)
    short = full(b"stsc", 0, number(2), entries[0], entries[2]) + box(b"free", bytes(16))
    assert table in photo
    assert cleaned(HeifFilter, photo.replace(table, short)) == photo.replace(table, short)


def _with_items() -> bytes:
    items = heif(PIXELS, layout=Layout(ftyp=FTYP))
    index = items[len(FTYP) : items.index(b"mdat") - 4]
    movie = sequence(Track())
    start = movie.index(b"moov") - 4
    return movie[:start] + index + movie[start:]


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (sequence(Track(flags=0)), "in another file"),
        (sequence(Track(coding=b"jpeg")), "unknown codec"),
        (sequence(Track(coding=b"encv")), "unknown codec"),
        (sequence(Track(), extra=box(b"mvex")), "fragments"),
        (sequence(Track()).replace(b"stbl", b"stbX"), "no samples"),
        (sequence(Track()).replace(b"stsz", b"stz2"), "no samples"),
        (sequence(Track()).replace(b"stsd", b"stsX"), "no samples"),
        (sequence(Track()).replace(b"stco", b"stcX"), "no samples"),
        (sequence(Track(extra=box(b"mdia"))), "twice"),
        (sequence(Track()).replace(b"stco\0\0\0\0\0\0\0\2", b"stco\0\0\0\0\xff\xff\xff\xff"), "shorter"),
        (sequence(Track()).replace(number(1) + number(2) + number(1), number(2) + number(2) + number(1)), "in order"),
        (sequence(Track()).replace(number(2) + number(1) + number(1), number(1) + number(1) + number(1)), "in order"),
        (sequence(Track(), is_data_first=True).replace(b"\0\2" + number(32), b"\0\2" + number(30)), "outside"),
        (sequence(Track()) + box(b"moov"), "follows data that needs it"),
        (_with_items(), "outside"),
    ],
)
def test_an_invalid_structure_is_rejected(photo: bytes, reason: str) -> None:
    for cuts in (range(0), range(1, len(photo))):
        assert reason in rejection(HeifFilter, photo, cuts)


def test_the_number_of_tracks_is_bounded() -> None:
    track = Track(chunks=((b"-",),))
    assert cleaned(HeifFilter, sequence(*[track] * MAX_TRACKS))
    assert "tracks" in rejection(HeifFilter, sequence(*[track] * (MAX_TRACKS + 1)))


def test_sizes_that_lie_take_no_time() -> None:
    """Billions of chunks, of samples in a chunk, and of samples of equal size, none of which are there."""
    photo = sequence(Track())
    photo = photo.replace(number(1) + number(2) + number(1), number(1) + number(2**32 - 1) * 2)
    photo = photo.replace(number(2) + number(1) + number(1), number(2**32 - 1) * 3)
    assert "outside" in rejection(HeifFilter, photo.replace(b"stsz" + bytes(8), b"stsz" + bytes(4) + b"\xff" * 4))
    assert len(cleaned(HeifFilter, photo)) == len(photo)


def test_a_sequence_that_is_cut_off_passes_as_far_as_it_goes() -> None:
    for photo in (sequence(Track(), METADATA), sequence(Track(), METADATA, is_data_first=True)):
        for end in range(len(photo)):
            output = cleaned(HeifFilter, photo[:end])
            assert len(output) <= end
            assert SECRET[:4] not in output


def test_damaged_sequences_are_cleaned_or_rejected() -> None:
    photos = [sequence(Track(), METADATA, gap=SECRET), sequence(Track(is_wide=True), METADATA, is_data_first=True)]
    passed, total = fuzz(HeifFilter, photos, 3000)
    assert 0 < passed < total == 3000
