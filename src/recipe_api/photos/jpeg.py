"""Removes the metadata of JPEG files (ITU-T T.81, JFIF, Exif).

A JPEG file is a sequence of segments, each of which begins with a marker: 0xFF and a code. Most have a length of 16
bits; a scan is followed by its entropy-coded data, in which 0xFF is stuffed with a zero or begins a restart marker.
Kept are frame, tables and scans, the colour profile (APP2) and what Adobe's encoders say about the colour transform
(APP14), without which colours change. The JFIF header is written without its thumbnail, Exif with the orientation
alone. Everything else is dropped: comments, all other application segments, bytes between segments, and what
follows the end of the image, where phones append videos, depth maps, and second images that have their own metadata.

To look for markers in all entropy-coded data would take ten times as long as to look for the end of the image. So the
data of a scan that has all components of a sequential frame is not examined: by T.81, only the end of the image can
follow. An encoder writes nothing else there; somebody who wants to hide data could as well hide it in the pixels.
"""

import re
import struct
from collections.abc import Callable, Iterable

from stringzilla import find

from recipe_api.errors import PhotoMalformed
from recipe_api.photos import exif
from recipe_api.photos.filtering import CutOff, Dimensions, PhotoFilter, Steps

MAX_SEGMENTS = 10_000
"""How many segments a photo may have: 640 MB of metadata in the largest segments, or scans by the thousand."""

_SOI, _EOI, _SOS, _DNL, _TEM, _COM = 0xFFD8, 0xFFD9, 0xFFDA, 0xFFDC, 0xFF01, 0xFFFE
_TABLES = frozenset({0xFFC4, 0xFFCC, 0xFFDB, 0xFFDD})
"""DHT, DAC, DQT and DRI."""
_FRAMES = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
"""SOF0 to SOF15: baseline, extended, progressive and lossless, in Huffman or arithmetic coding."""
_ONE_SCAN_FRAMES = frozenset({0xFFC0, 0xFFC1})
"""Sequential frames, in which each component is in exactly one scan (T.81 §A.2)."""
_JFIF, _EXIF, _ICC, _ADOBE = 0xFFE0, 0xFFE1, 0xFFE2, 0xFFEE
_DROPPED = frozenset({*range(0xFFE0, 0xFFF0), _COM})
"""All application segments, as far as they are not rewritten, and comments."""
_SEGMENTS = _TABLES | _FRAMES | _DROPPED | {_SOS, _DNL}
"""All others have no length, are reserved, or belong to formats that no browser displays: JPEG-LS, hierarchical."""
_HEAD = struct.Struct(">HH")
"""The beginning of a segment: its marker, and a length that includes its own two bytes."""
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker other than a restart marker. More bytes 0xFF may precede it (T.81 §B.1.1.2)."""


def _find_marker(view: memoryview) -> int:
    marker = _MARKER.search(view)
    return marker.start() if marker else -1


def _find_end(view: memoryview) -> int:
    place: int = find(view, b"\xff\xd9")
    return place


class JpegFilter(PhotoFilter):
    """Removes the metadata of one JPEG file."""

    _frame = 0
    """The marker of the frame; 0 before it."""
    _components = 0
    _width = 0
    _height = 0
    """0 if a DNL segment after the first scan gives it (T.81 §B.2.5)."""
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
        yield from self.copy(2)  # the marker of the end

    def _segments(self) -> Steps:
        """Filter everything up to the end of the image."""
        for _ in range(MAX_SEGMENTS):
            view, at = self._view, self._at
            marker, length = _HEAD.unpack_from(view, at) if at + 4 <= len(view) else (0, 0)
            if marker in _TABLES and 2 <= length <= len(view) - at - 2:  # a short cut for most segments
                self._at = at + 2 + length
                continue
            if marker not in _SEGMENTS:  # usually the end of the image
                yield from self._pass_until_marker(self.skip, _find_marker)
                marker = int.from_bytes((yield from self.peek(2)))
                if marker == _EOI:
                    return
                if marker == _TEM:  # has no length, and no meaning outside of an arithmetic encoder
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
        """Copy or skip what precedes the next marker: entropy-coded data or junk."""
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
        """Wait until the view has both bytes of what may be a marker."""
        try:
            yield from self.peek(2)
        except CutOff:
            self.emit(b"\xff")  # pixels, or else the next filtering would take away the next of several
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
        """Read and keep a segment that the structure depends on, and with a scan its data."""
        self._check((yield from self.peek(size)), marker)
        yield from self.copy(size)
        if marker == _SOS:
            yield from self._pass_until_marker(self.copy, self._find_next)

    def _metadata(self, marker: int, size: int) -> Steps:
        """Drop a segment, or keep what changes how the photo is displayed. Readers look for that before the scans."""
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
        """Return what is kept of an application segment; nothing if it has another use than the one that we know."""
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
        if self._has_exif:  # the first one decides, as in browsers
            return b""
        self._has_exif = True
        self._orientation = exif.orientation(tiff)
        self._measure()
        return b"" if self._orientation == 1 else b"Exif\0\0" + exif.minimal(self._orientation)

    def _check(self, segment: bytes, marker: int) -> None:
        """Read a frame, a scan or a number of lines.

        Raises:
            PhotoMalformed: It has a wrong size or place.
        """
        if marker in _FRAMES and not self._frame:
            self._read_frame(segment, marker)
        elif marker == _SOS and self._frame:
            self._read_scan(segment)
        elif marker == _DNL and self._has_scan and len(segment) == 6:
            self._height = self._height or int.from_bytes(segment[4:6], "big")
            self._measure()
        else:
            raise _malformed(f"has a segment in a wrong place, {marker:04X}")

    def _read_frame(self, segment: bytes, marker: int) -> None:
        """Read precision, lines, samples per line, the number of components, and 3 bytes for each (T.81 §B.2.2)."""
        if len(segment) < 10 or len(segment) != 10 + 3 * segment[9]:
            raise _malformed("has a frame header of a wrong size")
        self._frame, self._components = marker, segment[9]
        self._height, self._width = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big")
        self._measure()

    def _read_scan(self, segment: bytes) -> None:
        """Read the number of components, for each of which 2 bytes follow, then 3 bytes (T.81 §B.2.3)."""
        if len(segment) < 10 or len(segment) != 8 + 2 * segment[4]:
            raise _malformed("has a scan header of a wrong size")
        is_only = self._frame in _ONE_SCAN_FRAMES and segment[4] == self._components and self._height > 0
        self._find_next = _find_end if is_only else _find_marker
        self._has_scan = True
        self.is_measured = self._height > 0

    def _measure(self) -> None:
        if self._width and self._height:
            self.dimensions = Dimensions(*exif.displayed(self._width, self._height, self._orientation))


def _malformed(what: str) -> PhotoMalformed:
    return PhotoMalformed(f"The JPEG file {what}. Save it again with an image editor.", field="photo")
