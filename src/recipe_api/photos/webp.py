"""Removes the metadata of WebP photos, without changing their length.

A WebP file is a RIFF file: it consists of chunks, each with a type, a size, and content that is padded to an even
length (RFC 9649). If there is more than an image, a `VP8X` chunk comes first, and its flags announce the other chunks.
Decoders ignore metadata that is not announced. The filter clears the flag for XMP, and reduces Exif metadata to the
orientation. All other metadata becomes a `JUNK` chunk of zeros, which RIFF defines for padding and decoders skip. The
frames of an animation consist of chunks too.
"""

from collections.abc import Generator

from recipe_api.errors import PhotoMalformed
from recipe_api.photos import exif
from recipe_api.photos.filtering import Dimensions, PhotoFilter, Steps

MAX_CHUNKS = 65_536
"""More chunks than any animation has. The limit bounds the time, because a chunk may have only eight bytes."""

_EXIF_SEARCHED = 64 * 1024
"""How many bytes of Exif metadata are searched for the orientation, which is in the first directory."""
_EXIF_PREFIX = b"Exif\0\0"
"""What precedes Exif metadata in JPEG files. Some encoders write it in WebP files too."""
_EXIF_FLAG, _KEPT_FLAGS = 0x08, 0x3A
"""Flags in `VP8X`. Those for the ICC profile, alpha, Exif and the animation are kept."""
_IMAGES = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_KEPT = _IMAGES | {b"ICCP", b"ANIM"}
_FRAME_BYTES = 16
"""The length of the fields in `ANMF` that precede its chunks."""


class WebpFilter(PhotoFilter):
    """Removes the metadata of a WebP photo."""

    def __init__(self) -> None:
        self._chunks = 0
        self._flags = 0
        super().__init__()

    def program(self) -> Steps:
        header = yield from self.read(12)
        self.emit(header)
        left = int.from_bytes(header[4:8], "little") - 4
        while left >= 8:
            kind, size, padded = yield from self._chunk(left)
            left -= 8 + padded
            if kind == b"VP8X" and self._chunks == 1 and size >= 10:
                self._put_header(kind, size)
                yield from self._canvas()
                yield from self.overwrite(padded - 10)
            elif kind == b"EXIF" and self._flags & _EXIF_FLAG:
                self._put_header(kind, size)
                yield from self._exif(size)
                yield from self.overwrite(padded - size)
            elif kind == b"ANMF" and size >= _FRAME_BYTES:
                self._put_header(kind, size)
                yield from self._frame(size)
                yield from self.overwrite(padded - size)
            else:
                yield from self._keep_or_blank(kind, size, padded, _KEPT)
        yield from self.overwrite(max(left, 0))

    def _frame(self, size: int) -> Steps:
        yield from self.copy(_FRAME_BYTES)
        left = size - _FRAME_BYTES
        while left >= 8:
            kind, size, padded = yield from self._chunk(left)
            left -= 8 + padded
            yield from self._keep_or_blank(kind, size, padded, _IMAGES)
        yield from self.overwrite(left)

    def _chunk(self, left: int) -> Generator[None, None, tuple[bytes, int, int]]:
        """Return the type, size and padded size of the next chunk, for which `left` bytes remain, header included."""
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            raise PhotoMalformed(f"The WebP has more than {MAX_CHUNKS} chunks.", field="photo")
        header = yield from self.read(8)
        size = int.from_bytes(header[4:], "little")
        if size > left - 8:
            raise PhotoMalformed("The WebP has a chunk that is larger than the space for it.", field="photo")
        return header[:4], size, min(size + size % 2, left - 8)

    def _put_header(self, kind: bytes, size: int) -> None:
        self.emit(kind + size.to_bytes(4, "little"))

    def _keep_or_blank(self, kind: bytes, size: int, padded: int, kept: frozenset[bytes]) -> Steps:
        if kind in kept:
            self._put_header(kind, size)
            if not self.dimensions and size >= 10:
                self.dimensions = _dimensions(kind, (yield from self.peek(10)))
                self.is_measured = self.dimensions is not None
            yield from self.copy(size)
            yield from self.overwrite(padded - size)
        else:
            self._put_header(b"JUNK", size)
            yield from self.overwrite(padded)

    def _canvas(self) -> Steps:
        content = yield from self.read(10)
        self._flags = content[0] & _KEPT_FLAGS
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (4, 7))
        self.dimensions = Dimensions(width, height)
        self.is_measured = not self._flags & _EXIF_FLAG
        self.emit(bytes([self._flags, 0, 0, 0]) + content[4:])

    def _exif(self, size: int) -> Steps:
        content = yield from self.read(min(size, _EXIF_SEARCHED))
        orientation = exif.orientation(content.removeprefix(_EXIF_PREFIX))
        self.emit(exif.minimal(orientation)[: len(content)].ljust(len(content), b"\0"))
        yield from self.overwrite(size - len(content))
        if self.dimensions:
            self.dimensions = Dimensions(*exif.displayed(*self.dimensions, orientation))
        self.is_measured = True
        self._flags &= ~_EXIF_FLAG  # decoders use only the first Exif chunk


def _dimensions(kind: bytes, content: bytes) -> Dimensions | None:
    """Return the dimensions at the beginning of an image's bit stream, for a photo without a `VP8X` chunk."""
    if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return Dimensions(width, height)
    if kind == b"VP8L" and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        return Dimensions(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    return None
