"""Removes the metadata of JPEG files (ITU-T T.81, JFIF, Exif).

A JPEG file is a sequence of segments. Each begins with a marker, which is 0xFF and a code, and most have a length of 16
bits. A scan is followed by its entropy-coded data, in which 0xFF is followed by a zero or begins a restart marker. The
filter keeps the frame, tables and scans, the colour profile (APP2), and the colour transform of Adobe's encoders
(APP14), without which colours would change. It writes the JFIF header without its thumbnail, and reduces Exif metadata
to the orientation. It drops everything else: comments, all other application segments, bytes between segments, and what
follows the end of the image, where phones append videos, depth maps, and second images with their own metadata.

Searching all entropy-coded data for markers would take ten times as long as searching for the end of the image. So if a
scan has all components of a sequential frame, the filter searches its data only for the end of the image: according to
T.81, nothing else can follow. Encoders write nothing else there, and anyone who wants to hide data could just as well
hide it in the pixels.
"""

import re
import struct
from collections.abc import Callable, Iterable

from stringzilla import find

from recipe_api.errors import PhotoMalformed
from recipe_api.photos import exif
from recipe_api.photos.filtering import CutOff, Dimensions, PhotoFilter, Steps

MAX_SEGMENTS = 10_000
"""Maximum number of segments: enough for thousands of scans, or for 640 MB of metadata in the largest segments."""

_SOI, _EOI, _SOS, _DNL, _TEM, _COM = 0xFFD8, 0xFFD9, 0xFFDA, 0xFFDC, 0xFF01, 0xFFFE
_TABLES = frozenset({0xFFC4, 0xFFCC, 0xFFDB, 0xFFDD})
"""DHT, DAC, DQT and DRI."""
_FRAMES = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
"""SOF0 to SOF15: baseline, extended, progressive and lossless, with Huffman or arithmetic coding."""
_ONE_SCAN_FRAMES = frozenset({0xFFC0, 0xFFC1})
"""Sequential frames, in which each component is in exactly one scan (T.81 §A.2)."""
_JFIF, _EXIF, _ICC, _ADOBE = 0xFFE0, 0xFFE1, 0xFFE2, 0xFFEE
_DROPPED = frozenset({*range(0xFFE0, 0xFFF0), _COM})
"""Comments, and all application segments except those that are rewritten."""
_SEGMENTS = _TABLES | _FRAMES | _DROPPED | {_SOS, _DNL}
"""All other markers have no length, are reserved, or belong to formats that no browser displays, such as JPEG-LS."""
_HEAD = struct.Struct(">HH")
"""The beginning of a segment: its marker, and a length that includes its own two bytes."""
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Any marker except a restart marker. Further 0xFF bytes may precede it (T.81 §B.1.1.2)."""


def _find_marker(view: memoryview) -> int:
    marker = _MARKER.search(view)
    return marker.start() if marker else -1


def _find_end(view: memoryview) -> int:
    place: int = find(view, b"\xff\xd9")
    return place


class JpegFilter(PhotoFilter):
    """Removes the metadata of one JPEG file."""

    _frame = 0
    """The marker of the frame; 0 until it has been read."""
    _components = 0
    _width = 0
    _height = 0
    """0 until it is known. A DNL segment after the first scan may define it (T.81 §B.2.5)."""
    _has_scan = False
    _has_exif = False
    _orientation = 1
    _find_next: Callable[[memoryview], int] = staticmethod(_find_marker)
    """Finds the marker that ends the data of a scan."""

    def program(self) -> Steps:
        if (yield from self.peek(2)) != _SOI.to_bytes(2):
            raise _malformed("does not begin with its start marker")
        yield from self.copy(2)
        yield from self._segments()
        yield from self.copy(2)  # the end marker

    def _segments(self) -> Steps:
        """Filter everything up to the end of the image."""
        for _ in range(MAX_SEGMENTS):
            view, at = self._view, self._at
            marker, length = _HEAD.unpack_from(view, at) if at + 4 <= len(view) else (0, 0)
            if marker in _TABLES and 2 <= length <= len(view) - at - 2:  # a shortcut for most segments
                self._at = at + 2 + length
                continue
            if marker not in _SEGMENTS:  # usually the end of the image
                yield from self._pass_until_marker(self.skip, _find_marker)
                marker = int.from_bytes((yield from self.peek(2)))
                if marker == _EOI:
                    return
                if marker == _TEM:  # has no length, and is for temporary use in an encoder
                    yield from self.skip(2)
                    continue
                if marker not in _SEGMENTS:
                    raise _malformed(f"has an unsupported marker, {marker:04X}")
                _, length = _HEAD.unpack((yield from self.peek(4)))
            yield from self._segment(marker, length)
        raise _malformed(f"has more than {MAX_SEGMENTS} segments")

    def _pass_until_marker(
        self, step: Callable[[int], Iterable[None]], find_marker: Callable[[memoryview], int]
    ) -> Steps:
        """Copy or skip the bytes before the next marker: entropy-coded data or junk."""
        while True:
            view = yield from self.arrived()
            place = find_marker(view)
            if place >= 0:
                yield from step(place)
                return
            may_begin = view[-1] == 0xFF
            yield from step(len(view) - may_begin)
            if may_begin:
                yield from self._complete()

    def _complete(self) -> Steps:
        """Wait until the view contains both bytes of a possible marker."""
        try:
            yield from self.peek(2)
        except CutOff:
            self.emit(b"\xff")  # keep it: filtering the output again must not change it
            raise

    def _segment(self, marker: int, length: int) -> Iterable[None]:
        if length < 2:
            raise _malformed("has a segment that is shorter than its own length")
        size = 2 + length
        if marker in _TABLES:
            return self.copy(size)
        if marker in _DROPPED:
            return self._metadata(marker, size)
        return self._image(marker, size)

    def _image(self, marker: int, size: int) -> Steps:
        """Read and keep a segment that defines the structure, and after the header of a scan its data."""
        self._check((yield from self.peek(size)), marker)
        yield from self.copy(size)
        if marker == _SOS:
            yield from self._pass_until_marker(self.copy, self._find_next)

    def _metadata(self, marker: int, size: int) -> Steps:
        """Drop a segment, except what affects how the photo is displayed. Readers look for that before the scans."""
        if self._has_scan or marker not in {_JFIF, _EXIF, _ICC, _ADOBE}:
            yield from self.skip(size)
            return
        segment = yield from self.peek(size)
        kept = self._kept(marker, segment[4:])
        if kept == segment[4:]:
            yield from self.copy(size)
            return
        yield from self.skip(size)
        if kept:
            self.emit(_HEAD.pack(marker, 2 + len(kept)) + kept)

    def _kept(self, marker: int, content: bytes) -> bytes:
        """Return the part of an application segment to keep; nothing if the segment has an unknown format."""
        if marker == _JFIF and content.startswith(b"JFIF\0") and len(content) >= 14:
            return content[:12] + b"\0\0"  # version and density, and the size of the thumbnail
        if marker == _EXIF and content.startswith(b"Exif\0") and content[6:10] in exif.SIGNATURES:
            return self._kept_exif(content[6:])
        if marker == _ICC and content.startswith(b"ICC_PROFILE\0"):
            return content
        if marker == _ADOBE and content.startswith(b"Adobe") and len(content) >= 12:
            return content[:12]
        return b""

    def _kept_exif(self, tiff: bytes) -> bytes:
        if self._has_exif:  # only the first one counts, as in browsers
            return b""
        self._has_exif = True
        self._orientation = exif.orientation(tiff)
        self._measure()
        return b"" if self._orientation == 1 else b"Exif\0\0" + exif.minimal(self._orientation)

    def _check(self, segment: bytes, marker: int) -> None:
        """Read a frame header, a scan header or a number of lines.

        Raises:
            PhotoMalformed: The segment has the wrong size or is in the wrong place.
        """
        if marker in _FRAMES and not self._frame:
            self._read_frame(segment, marker)
        elif marker == _SOS and self._frame:
            self._read_scan(segment)
        elif marker == _DNL and self._has_scan and len(segment) == 6:
            self._height = self._height or int.from_bytes(segment[4:6], "big")
            self._measure()
        else:
            raise _malformed(f"has a segment in the wrong place, {marker:04X}")

    def _read_frame(self, segment: bytes, marker: int) -> None:
        """Read a frame header.

        It has the precision, the number of lines, the samples per line, the number of components, and 3 bytes for each
        component (T.81 §B.2.2).
        """
        if len(segment) < 10 or len(segment) != 10 + 3 * segment[9]:
            raise _malformed("has a frame header of the wrong size")
        self._frame, self._components = marker, segment[9]
        self._height, self._width = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big")
        self._measure()

    def _read_scan(self, segment: bytes) -> None:
        """Read a scan header: the number of components, 2 bytes for each, and 3 more bytes (T.81 §B.2.3)."""
        if len(segment) < 10 or len(segment) != 8 + 2 * segment[4]:
            raise _malformed("has a scan header of the wrong size")
        is_only = self._frame in _ONE_SCAN_FRAMES and segment[4] == self._components and self._height > 0
        self._find_next = _find_end if is_only else _find_marker
        self._has_scan = True
        self.is_measured = self._height > 0

    def _measure(self) -> None:
        if self._width and self._height:
            self.dimensions = Dimensions(*exif.displayed(self._width, self._height, self._orientation))


def _malformed(what: str) -> PhotoMalformed:
    return PhotoMalformed(f"The JPEG file {what}. Save it again with an image editor.", field="photo")
