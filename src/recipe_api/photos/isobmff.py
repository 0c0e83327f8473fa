"""The boxes of the ISO Base Media File Format (ISO/IEC 14496-12), of which HEIF is made, in a part of a file in memory.

A box is its size, its type, and its content, which may be other boxes. What may be cleaned without moving anything
else: a box that is to go becomes one of type `free`, which readers skip, with zeros as its content.
"""

from collections.abc import Iterator
from typing import NamedTuple

from recipe_api.errors import PhotoMalformed


class Box(NamedTuple):
    kind: bytes
    start: int
    content: int
    """Where the content starts, behind size and type."""
    end: int


class Fields:
    """Reads the fields of a box one after the other."""

    def __init__(self, data: bytearray, box: Box) -> None:
        self._data, self._end = data, box.end
        self.at = box.content

    def number(self, size: int) -> int:
        """Return the next `size` bytes as a number."""
        start, self.at = self.at, self.at + size
        if self.at > self._end:
            raise malformed("a box is shorter than its fields")
        return int.from_bytes(self._data[start : self.at], "big")

    def string(self) -> bytes:
        """Return the text up to the next zero, or to the end of the box."""
        start = self.at
        end = self._data.find(b"\0", start, self._end)
        if end < 0:
            end = self._end
        self.at = min(end + 1, self._end)
        return bytes(self._data[start:end])


def malformed(reason: str) -> PhotoMalformed:
    """Return the error to raise when boxes cannot be followed."""
    return PhotoMalformed(f"The HEIF structure of the photo cannot be followed: {reason}.", field="photo")


def boxes(data: bytearray, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two places, which they must fill.

    Raises:
        PhotoMalformed: A box reaches beyond the end.
    """
    while start < end:
        size = int.from_bytes(data[start : start + 4], "big")
        content = start + 8
        if size == 1:
            size = int.from_bytes(data[content : content + 8], "big")
            content += 8
        if content > end or not content <= start + size <= end:
            raise malformed("a box is longer or shorter than what is in it")
        yield Box(bytes(data[start + 4 : start + 8]), start, content, start + size)
        start += size


def child(data: bytearray, parent: Box, kind: bytes) -> Box | None:
    """Return the one box of this type in another box.

    Raises:
        PhotoMalformed: There are two.
    """
    found = None
    for box in boxes(data, parent.content, parent.end):
        if box.kind == kind:
            if found:
                raise malformed("a box that may appear once appears twice")
            found = box
    return found


def blank(data: bytearray, start: int, end: int, padding: bytes = b"\0") -> None:
    """Write padding over everything between two places."""
    data[start:end] = padding * (end - start)


def free(data: bytearray, box: Box) -> None:
    """Make this a box that readers skip."""
    data[box.start + 4 : box.start + 8] = b"free"
    blank(data, box.content, box.end)


def blank_handler_name(data: bytearray, handler: Box) -> bytes:
    """Remove the name from a `hdlr` box, and return what it handles."""
    fields = Fields(data, handler)
    fields.number(8)  # version, flags, and a field without meaning
    kind = fields.number(4).to_bytes(4, "big")
    fields.number(12)
    blank(data, fields.at, handler.end)
    return kind


def blank_data_references(data: bytearray, references: Box) -> None:
    """Remove all addresses from a `dref` box.

    Raises:
        PhotoMalformed: One refers to another file.
    """
    fields = Fields(data, references)
    fields.number(8)  # version, flags, number of entries
    for reference in boxes(data, fields.at, references.end):
        reference_fields = Fields(data, reference)
        if not reference_fields.number(4) & 1:
            raise malformed("its data is in another file")
        blank(data, reference_fields.at, reference.end)
