"""Removes the metadata of GIFs: comments, plain text, and the extensions of applications, such as XMP.

A GIF consists of a header, a logical screen descriptor, blocks, and a trailer. A block is an image or a labelled
extension. Its data comes in sub-blocks of up to 255 bytes, and an empty one ends it (GIF89a specification, §15 to §27).
What follows the trailer is dropped.

A graphic control extension applies to the image or plain text that follows it. Browsers do not display plain text, and
apply its graphic control to the next image instead. So all graphic controls are kept, and every frame is displayed as
before.
"""

from collections.abc import Generator

from recipe_api.errors import PhotoMalformed
from recipe_api.photos.filtering import Dimensions, PhotoFilter, Steps

MAX_BLOCKS = 65_536
"""More blocks than any animation has. The limit bounds the time, because a block may have only three bytes."""
_MAX_STRAY_BYTES = 256
"""How many zero bytes between blocks are tolerated. Some encoders end an image twice, which browsers ignore."""
_MAX_LOOP_SUB_BLOCKS = 8
"""Only two kinds are defined: the number of loops, and a buffer size."""

_IMAGE, _EXTENSION, _TRAILER, _STRAY = b",", b"!", b";", b"\0"
_GRAPHIC_CONTROL, _APPLICATION = b"\xf9", b"\xff"
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_ICC = b"ICCRGBG1012"


class GifFilter(PhotoFilter):
    """Removes the metadata of a GIF."""

    def program(self) -> Steps:
        yield from self.copy(6)  # the signature and the version
        screen = yield from self.read(7)
        width, height = int.from_bytes(screen[0:2], "little"), int.from_bytes(screen[2:4], "little")
        if width and height:
            self.dimensions = Dimensions(width, height)
        self.is_measured = True
        self.emit(screen)
        yield from self.copy(_color_table_bytes(screen[4]))
        stray_bytes = 0
        for _ in range(MAX_BLOCKS):
            block = yield from self.read(1)
            while block == _STRAY and stray_bytes < _MAX_STRAY_BYTES:
                stray_bytes += 1
                block = yield from self.read(1)
            if block == _IMAGE:
                yield from self._image()
            elif block == _EXTENSION:
                yield from self._extension()
            elif block == _TRAILER:
                self.emit(_TRAILER)
                return
            else:
                raise PhotoMalformed("The GIF has a block that is neither an image nor an extension.", field="photo")
        raise PhotoMalformed(f"The GIF has more than {MAX_BLOCKS} blocks.", field="photo")

    def _image(self) -> Steps:
        descriptor = yield from self.read(9)
        self.emit(_IMAGE + descriptor)
        yield from self.copy(_color_table_bytes(descriptor[8]) + 1)  # also the code size
        yield from self._copy_sub_blocks()

    def _extension(self) -> Steps:
        label = yield from self.read(1)
        if label == _GRAPHIC_CONTROL:
            yield from self._graphic_control()
        elif label == _APPLICATION:
            yield from self._application()
        else:
            yield from self._drop_sub_blocks()

    def _graphic_control(self) -> Steps:
        content = yield from self._sub_block()
        if content:
            if len(content) >= 4:
                self.emit(b"!\xf9\x04" + content[:4] + b"\0")
            yield from self._drop_sub_blocks()

    def _application(self) -> Steps:
        """Keep the number of loops and the ICC profile."""
        name = yield from self._sub_block()
        if name in _LOOPS:
            self.emit(b"!\xff\x0b" + name)
            yield from self._loops()
            self.emit(b"\0")
        elif name == _ICC:
            self.emit(b"!\xff\x0b" + name)
            yield from self._copy_sub_blocks()
        elif name:
            yield from self._drop_sub_blocks()

    def _loops(self) -> Steps:
        for _ in range(_MAX_LOOP_SUB_BLOCKS):
            content = yield from self._sub_block()
            if not content:
                return
            if len(content) == 3 and content[0] & 7 == 1:
                self.emit(b"\x03" + content)
        yield from self._drop_sub_blocks()

    def _sub_block(self) -> Generator[None, None, bytes]:
        (size,) = yield from self.read(1)
        return (yield from self.read(size))

    def _copy_sub_blocks(self) -> Steps:
        while (span := (yield from self._span_of_sub_blocks())) > 0:
            yield from self.copy(span)
        yield from self.copy(-span)

    def _drop_sub_blocks(self) -> Steps:
        while (span := (yield from self._span_of_sub_blocks())) > 0:
            yield from self.skip(span)
        yield from self.skip(-span)

    def _span_of_sub_blocks(self) -> Generator[None, None, int]:
        """Return the total length of the sub-blocks that begin in the input so far; negated if the last one does.

        Sub-blocks are not processed one by one, because an image of a photo's size has tens of thousands.
        """
        view = yield from self.arrived()
        at = 0
        while at < len(view):
            size = view[at]
            at += 1 + size
            if not size:
                return -at
        return at


def _color_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
