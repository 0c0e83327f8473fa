"""Removes the metadata of PNG files, animated ones included (PNG Specification, Third Edition).

A PNG file consists of a signature and chunks, each with a length, a type, data and a CRC. The filter keeps the pixels,
the animation, and what affects how they are displayed: palette, transparency, colour space, density. It reduces Exif
metadata to the orientation, and drops everything else: text, XMP, the time of the last change, C2PA manifests, chunks
of unknown types, and what follows the end of the image.
"""

import struct
from binascii import crc32

from recipe_api.errors import PhotoMalformed
from recipe_api.photos import exif
from recipe_api.photos.filtering import Dimensions, PhotoFilter, Steps
from recipe_api.units import KIB

MAX_EXIF_BYTES = 64 * KIB
"""Larger Exif metadata is dropped, orientation included. What cameras write fits into a JPEG segment of this size."""
MAX_SMALL_CHUNKS = 100_000
"""Maximum number of chunks of less than `SMALL_CHUNK_BYTES`. An animation has two for each frame."""
SMALL_CHUNK_BYTES = KIB

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">I4sII9x")
"""The IHDR chunk: length, type, width and height. Bit depth, colour type, methods and CRC are not needed."""
_CHUNK = struct.Struct(">I4s")
_FRAME_BYTES = 12
"""Length, type and CRC."""
_MAX_INTEGER = 2**31 - 1
"""The maximum length, width and height (§7.1)."""
_KEPT = frozenset(
    b"PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split()
)


class PngFilter(PhotoFilter):
    """Removes the metadata of one PNG file."""

    _width = 0
    _height = 0
    _has_exif = False

    def program(self) -> Steps:
        if (yield from self.peek(len(_SIGNATURE))) != _SIGNATURE:
            raise _malformed("does not begin with its signature")
        yield from self.copy(len(_SIGNATURE))
        self._read_header((yield from self.peek(_HEADER.size)))
        yield from self.copy(_HEADER.size)
        yield from self._chunks()

    def _read_header(self, chunk: bytes) -> None:
        length, name, self._width, self._height = _HEADER.unpack(chunk)
        if (length, name) != (13, b"IHDR"):
            raise _malformed("does not begin with its header")
        if not (0 < self._width <= _MAX_INTEGER and 0 < self._height <= _MAX_INTEGER):
            raise _malformed("has an invalid width or height")
        self.dimensions = Dimensions(self._width, self._height)

    def _chunks(self) -> Steps:
        """Filter the chunks that follow the header."""
        small = 0
        while True:
            length, name = _CHUNK.unpack((yield from self.peek(_CHUNK.size)))
            small += length < SMALL_CHUNK_BYTES
            self._check(name, length, small)
            if name == b"IDAT":
                self.is_measured = True
            if name in _KEPT:
                yield from self.copy(_FRAME_BYTES + length)
            elif name == b"eXIf" and length <= MAX_EXIF_BYTES:
                self._write_exif((yield from self.read(_FRAME_BYTES + length)))
            else:
                yield from self.skip(_FRAME_BYTES + length)
            if name == b"IEND":
                return

    def _check(self, name: bytes, length: int, small: int) -> None:
        if not name.isalpha():
            raise _malformed("has a chunk whose type is not four letters")
        if length > _MAX_INTEGER or (name == b"IEND" and length):
            raise _malformed("has a chunk of an invalid length")
        if name == b"IHDR":
            raise _malformed("has two headers")
        if small > MAX_SMALL_CHUNKS:
            raise _malformed(f"has more than {MAX_SMALL_CHUNKS} small chunks")

    def _write_exif(self, chunk: bytes) -> None:
        """Write the orientation. Only the first valid chunk counts; readers ignore a chunk with a wrong CRC."""
        tiff, checksum = chunk[8:-4], int.from_bytes(chunk[-4:], "big")
        if self._has_exif or tiff[:4] not in exif.SIGNATURES or crc32(chunk[4:-4]) != checksum:
            return
        self._has_exif = True
        orientation = exif.orientation(tiff)
        if not self.is_measured:  # browsers ignore an orientation that follows the pixels
            self.dimensions = Dimensions(*exif.displayed(self._width, self._height, orientation))
        if orientation != 1:
            self.emit(_chunk(b"eXIf", exif.minimal(orientation)))


def _chunk(name: bytes, data: bytes) -> bytes:
    return _CHUNK.pack(len(data), name) + data + crc32(name + data).to_bytes(4, "big")


def _malformed(what: str) -> PhotoMalformed:
    return PhotoMalformed(f"The PNG file {what}. Save it again with an image editor.", field="photo")
