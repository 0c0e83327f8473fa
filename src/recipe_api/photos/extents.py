"""Where the pixels and the metadata of a HEIF file are, and what to put in the place of the metadata.

What belongs to no image is not kept: metadata may have been unlinked and left where it was.
"""

from collections.abc import Iterator
from typing import NamedTuple

from recipe_api.photos.filtering import ZEROS
from recipe_api.photos.isobmff import malformed

MAX_EXTENTS = 2048
"""How many extents that do not adjoin a file may have. A photo of 200 megapixels has about 800 tiles, which adjoin."""

_SPACES = memoryview(b" " * len(ZEROS))


class Fill(NamedTuple):
    """What takes the place of metadata: the shortest valid document of its kind, padded to its length."""

    document: bytes
    padding: memoryview

    def beginning(self, size: int) -> bytes:
        """Return the document, if that many bytes are enough for it."""
        return self.document if len(self.document) <= size else b""

    def over(self, size: int) -> bytes:
        """Return what takes the place of that many bytes."""
        return self.beginning(size).ljust(size, bytes(self.padding[:1]))

    @property
    def continued(self) -> "Fill":
        """What takes the place of the same metadata where it goes on elsewhere."""
        return NOTHING if self.padding is ZEROS else _SPACE


NOTHING = Fill(b"", ZEROS)
_SPACE = Fill(b"", _SPACES)
EXIF = Fill(b"\0\0\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", ZEROS)
"""The offset of the TIFF header, then a TIFF structure with an empty directory. Readers fail on zeros alone."""
XMP = Fill(b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', _SPACES)


class Extent(NamedTuple):
    start: int
    end: int
    fill: Fill | None
    """What takes the place of the content; None if it stays."""


class Extents:
    """The extents of a file, which are added in any order, and then passed in the order of the file."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []
        self._passed = 0

    def add(self, start: int, size: int, fill: Fill | None) -> None:
        """Add an extent; pixels that adjoin the last ones become one extent with them.

        Raises:
            PhotoMalformed: There are more than `MAX_EXTENTS`.
        """
        last = self._extents[-1] if self._extents else None
        if last and last.end == start and last.fill is fill is None:
            self._extents[-1] = Extent(last.start, start + size, None)
        elif len(self._extents) == MAX_EXTENTS:
            raise malformed(f"it has more than {MAX_EXTENTS} extents")
        elif size:
            self._extents.append(Extent(start, start + size, fill))

    def arrange(self) -> None:
        """Bring what was added into the order of the file.

        Raises:
            PhotoMalformed: Metadata overlaps with anything else.
        """
        added, self._extents = sorted(self._extents, key=lambda extent: extent.start), []
        for extent in added:
            last = self._extents[-1] if self._extents else None
            if last is None or extent.start >= last.end:
                self._extents.append(extent)
            elif last.fill is extent.fill is None:
                self._extents[-1] = Extent(last.start, max(last.end, extent.end), None)
            else:
                raise malformed("metadata overlaps with other data")

    def through(self, start: int, end: int) -> Iterator[Extent]:
        """Pass the extents of a box of data, which they must not leave; what is between them is to be filled as well.

        Raises:
            PhotoMalformed: An extent begins before the box, or ends behind it.
        """
        at = start
        while self._passed < len(self._extents) and self._extents[self._passed].start < end:
            extent = self._extents[self._passed]
            if extent.start < at or extent.end > end:
                raise malformed("an item lies outside of the data")
            if at < extent.start:
                yield Extent(at, extent.start, NOTHING)
            yield extent
            at = extent.end
            self._passed += 1
        if at < end:
            yield Extent(at, end, NOTHING)

    @property
    def is_passed(self) -> bool:
        return self._passed == len(self._extents)
