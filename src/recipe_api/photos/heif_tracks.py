"""Cleans the tracks of an image sequence in a HEIF file, such as an animated AVIF.

ISO/IEC 14496-12 §8 and ISO/IEC 23008-12 §7 define them. A `moov` box has a track for the images, possibly one for their
alpha channel, and possibly others, such as sound or timed metadata. Tracks without images become free space. Their
samples then belong to no image, so they are overwritten. Nothing is moved, and nothing changes its length.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice, repeat

from recipe_api.photos.extents import Extents
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.heif_items import PROPERTIES
from recipe_api.photos.isobmff import (
    Box,
    Fields,
    blank,
    blank_data_references,
    blank_handler_name,
    boxes,
    child,
    free,
    malformed,
)

MAX_TRACKS = 64

_KEPT = {
    b"moov": frozenset({b"mvhd", b"trak"}),
    b"trak": frozenset({b"tkhd", b"edts", b"tref", b"mdia"}),
    b"edts": frozenset({b"elst"}),
    b"mdia": frozenset({b"mdhd", b"hdlr", b"minf"}),
    b"minf": frozenset({b"vmhd", b"dinf", b"stbl"}),
    b"dinf": frozenset({b"dref"}),
    b"stbl": frozenset(
        {b"stsd", b"stts", b"ctts", b"cslg", b"stss", b"stsc", b"stsz", b"stco", b"co64", b"sdtp", b"sbgp", b"sgpd"}
    ),
}
"""The boxes to keep, by the type of the box that contains them."""
_IMAGES = frozenset({b"pict", b"vide", b"auxv"})
_CODINGS = frozenset({b"av01", b"avc1", b"avc3", b"evc1", b"hev1", b"hvc1", b"vvc1", b"vvi1"})
_SAMPLE_PROPERTIES = PROPERTIES | {b"auxi", b"btrt", b"ccst"}


def clean_tracks(data: bytearray, movie: Box, extents: Extents) -> Dimensions | None:
    """Remove the metadata from a `moov` box, add the extents of the images to `extents`, and return the dimensions.

    Raises:
        PhotoMalformed: The structure is invalid or unsupported.
    """
    dimensions = None
    tracks = [box for box in boxes(data, movie.content, movie.end) if box.kind == b"trak"]
    if len(tracks) > MAX_TRACKS or child(data, movie, b"mvex"):
        raise malformed(f"it has fragments, or more than {MAX_TRACKS} tracks")
    for track in tracks:
        media = child(data, track, b"mdia")
        handler = media and child(data, media, b"hdlr")
        kind = blank_handler_name(data, handler) if handler else b""
        if media and kind in _IMAGES:
            shown = _add_samples(data, media, extents)
            if kind != b"auxv" and not dimensions:
                dimensions = _displayed(data, track, shown)
        else:
            free(data, track)
    for box in _needed(data, movie):
        if box.kind in {b"mvhd", b"tkhd", b"mdhd"}:
            _blank_times(data, box)
        elif box.kind == b"dref":
            blank_data_references(data, box)
    return dimensions


def _needed(data: bytearray, movie: Box) -> Iterator[Box]:
    """Yield the boxes to keep that contain no other boxes, and turn the boxes that are not needed into free space."""
    levels = [(movie.kind, boxes(data, movie.content, movie.end))]
    while levels:
        kind, children = levels[-1]
        box = next(children, None)
        if not box:
            levels.pop()
        elif box.kind not in _KEPT[kind]:
            free(data, box)
        elif box.kind in _KEPT:
            levels.append((box.kind, boxes(data, box.content, box.end)))
        else:
            yield box


def _blank_times(data: bytearray, box: Box) -> None:
    """Remove the creation and modification times, which are the first fields of `mvhd`, `tkhd` and `mdhd`."""
    fields = Fields(data, box)
    start = box.content + 4
    fields.number(20 if fields.number(4) >> 24 else 12)
    blank(data, start, start + (16 if data[box.content] else 8))


def _add_samples(data: bytearray, media: Box, extents: Extents) -> Dimensions | None:
    """Add the chunks with a track's samples to the extents, and return the dimensions of the samples."""
    information = child(data, media, b"minf")
    table = information and child(data, information, b"stbl")
    if not table:
        raise malformed("a track has no samples")
    parts = {kind: child(data, table, kind) for kind in (b"stsd", b"stsz", b"stsc", b"stco", b"co64")}
    description, sizes, grouping = parts[b"stsd"], parts[b"stsz"], parts[b"stsc"]
    offsets, offset_bytes = (parts[b"stco"], 4) if parts[b"stco"] else (parts[b"co64"], 8)
    if not (description and sizes and grouping and offsets):
        raise malformed("a track has no samples")
    take_samples, samples_per_chunk = _sample_sizes(data, sizes), _samples_per_chunk(data, grouping)
    for (offset,) in struct.iter_unpack(">I" if offset_bytes == 4 else ">Q", _table(data, offsets, offset_bytes)):
        extents.add(offset, take_samples(next(samples_per_chunk, 0)), None)
    return _clean_description(data, description)


def _table(data: bytearray, box: Box, entry_bytes: int, *, fields_bytes: int = 4) -> memoryview:
    """Return the entries of a table, which follow the number of entries."""
    fields = Fields(data, box)
    fields.number(fields_bytes)
    count = fields.number(4)
    start = fields.at
    fields.number(count * entry_bytes)
    return memoryview(data)[start : fields.at]


def _sample_sizes(data: bytearray, box: Box) -> Callable[[int], int]:
    """Return a function that takes a number of samples, and returns the total size of the next samples."""
    fields = Fields(data, box)
    fields.number(4)
    if size := fields.number(4):
        left = fields.number(4)

        def take(count: int) -> int:
            nonlocal left
            taken = min(count, left)
            left -= taken
            return taken * size

        return take
    sizes = struct.iter_unpack(">I", _table(data, box, 4, fields_bytes=8))
    return lambda count: sum(size for (size,) in islice(sizes, count))


def _samples_per_chunk(data: bytearray, box: Box) -> Iterator[int]:
    """Yield the number of samples in each chunk. An entry applies to all chunks before that of the next entry."""
    samples, first = 0, 0
    for next_first, next_samples, _ in struct.iter_unpack(">III", _table(data, box, 12)):
        if next_first <= first or (first == 0 and next_first > 1):
            raise malformed("the chunks of a track are not in order")
        if first:
            yield from repeat(samples, next_first - first)
        samples, first = next_samples, next_first
    yield from repeat(samples)


def _clean_description(data: bytearray, box: Box) -> Dimensions | None:
    """Remove names and unknown properties from the description of the samples, and return their dimensions."""
    fields = Fields(data, box)
    fields.number(8)  # version, flags, number of entries
    dimensions = None
    for entry in boxes(data, fields.at, box.end):
        if entry.kind not in _CODINGS:
            raise malformed("a track has an unknown codec")
        entry_fields = Fields(data, entry)
        entry_fields.number(24)
        dimensions = dimensions or Dimensions(entry_fields.number(2), entry_fields.number(2))
        entry_fields.number(14)  # resolution, frames per sample
        name = entry_fields.at
        entry_fields.number(32)
        blank(data, name, entry_fields.at)
        entry_fields.number(4)
        for part in boxes(data, entry_fields.at, entry.end):
            if part.kind not in _SAMPLE_PROPERTIES:
                free(data, part)
    return dimensions


def _displayed(data: bytearray, track: Box, dimensions: Dimensions | None) -> Dimensions | None:
    """Return the dimensions after the rotation in the matrix of the track's header."""
    header = child(data, track, b"tkhd")
    if not (header and dimensions):
        return dimensions
    fields = Fields(data, header)
    fields.number(32 if fields.number(4) >> 24 else 20)  # times, track ID, duration
    fields.number(16)  # layer, group, volume
    is_turned = fields.number(4) == 0 and fields.number(4) != 0  # the first row of the matrix
    return Dimensions(dimensions.height, dimensions.width) if is_turned else dimensions
