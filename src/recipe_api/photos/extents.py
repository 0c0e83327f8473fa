"""The extents of a HEIF file: byte ranges that contain pixels or metadata, and what replaces the metadata.

Bytes that belong to no image are replaced too, because an editor may have unlinked metadata without deleting it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from recipe_api.photos.filtering import ZEROS
from recipe_api.photos.isobmff import malformed

MAX_EXTENTS = 2048
"""Maximum number of extents of a file; adjacent ones count as one. A photo of 200 megapixels has 800 adjacent tiles."""

_SPACES = memoryview(b" " * len(ZEROS))


class Fill(NamedTuple):
    """The replacement for metadata: the shortest valid document of the same kind, padded to the same length."""

    document: bytes
    padding: memoryview

    def beginning(self, size: int) -> bytes:
        """Return the document if it fits into `size` bytes; otherwise return nothing."""
        return self.document if len(self.document) <= size else b""

    def over(self, size: int) -> bytes:
        """Return the replacement for `size` bytes."""
        return self.beginning(size).ljust(size, bytes(self.padding[:1]))

    @property
    def continued(self) -> "Fill":
        """The replacement for further extents of the same metadata."""
        return NOTHING if self.padding is ZEROS else _SPACE


NOTHING = Fill(b"", ZEROS)
_SPACE = Fill(b"", _SPACES)
EXIF = Fill(b"\0\0\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", ZEROS)
"""The offset of the TIFF header, then a TIFF structure with an empty directory. Readers reject Exif data of zeros."""
XMP = Fill(b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>', _SPACES)


class Extent(NamedTuple):
    start: int
    end: int
    fill: Fill | None
    """The replacement for the content; None if the content is kept."""


class Extents:
    """The extents of a file. They are added in any order, and then visited in file order."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []
        self._passed = 0

    def add(self, start: int, size: int, fill: Fill | None) -> None:
        """Add an extent. Pixels that directly follow the last added ones extend that extent.

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
        """Sort the extents into file order.

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
        """Yield the extents within a data box in order, and an extent with a replacement for each gap between them.

        Raises:
            PhotoMalformed: An extent begins before the box or ends after it.
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
