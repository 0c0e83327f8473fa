"""Reads and changes boxes of the ISO Base Media File Format (ISO/IEC 14496-12), on which HEIF is based, in memory.

A box has a size, a type, and content, which may consist of other boxes. A box can be removed without moving anything:
its type becomes `free`, which readers skip, and its content becomes zeros.
"""

from collections.abc import Iterator
from typing import NamedTuple

from recipe_api.errors import PhotoMalformed


class Box(NamedTuple):
    kind: bytes
    start: int
    content: int
    """Where the content starts, after the size and the type."""
    end: int


class Fields:
    """Reads the fields of a box in order."""

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
        """Return the bytes up to the next zero byte, or to the end of the box."""
        start = self.at
        end = self._data.find(b"\0", start, self._end)
        if end < 0:
            end = self._end
        self.at = min(end + 1, self._end)
        return bytes(self._data[start:end])


def malformed(reason: str) -> PhotoMalformed:
    """Return the error for a HEIF file with an invalid structure."""
    return PhotoMalformed(f"The structure of this HEIF photo is invalid or unsupported: {reason}.", field="photo")


def boxes(data: bytearray, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions. They must fill the space between them.

    Raises:
        PhotoMalformed: A box extends beyond the end.
    """
    while start < end:
        size = int.from_bytes(data[start : start + 4], "big")
        content = start + 8
        if size == 1:
            size = int.from_bytes(data[content : content + 8], "big")
            content += 8
        if content > end or not content <= start + size <= end:
            raise malformed("the size of a box does not match its content")
        yield Box(bytes(data[start + 4 : start + 8]), start, content, start + size)
        start += size


def child(data: bytearray, parent: Box, kind: bytes) -> Box | None:
    """Return the only box of this type in another box; None if there is none.

    Raises:
        PhotoMalformed: There are two.
    """
    found = None
    for box in boxes(data, parent.content, parent.end):
        if box.kind == kind:
            if found:
                raise malformed("a box that may occur only once occurs twice")
            found = box
    return found


def blank(data: bytearray, start: int, end: int, padding: bytes = b"\0") -> None:
    """Overwrite everything between two positions with padding."""
    data[start:end] = padding * (end - start)


def free(data: bytearray, box: Box) -> None:
    """Turn a box into one that readers skip."""
    data[box.start + 4 : box.start + 8] = b"free"
    blank(data, box.content, box.end)


def blank_handler_name(data: bytearray, handler: Box) -> bytes:
    """Remove the name from an `hdlr` box, and return the handler type."""
    fields = Fields(data, handler)
    fields.number(8)  # version, flags, and an unused field
    kind = fields.number(4).to_bytes(4, "big")
    fields.number(12)
    blank(data, fields.at, handler.end)
    return kind


def blank_data_references(data: bytearray, references: Box) -> None:
    """Remove all addresses from a `dref` box.

    Raises:
        PhotoMalformed: An entry refers to another file.
    """
    fields = Fields(data, references)
    fields.number(8)  # version, flags, number of entries
    for reference in boxes(data, fields.at, references.end):
        reference_fields = Fields(data, reference)
        if not reference_fields.number(4) & 1:
            raise malformed("its data is in another file")
        blank(data, reference_fields.at, reference.end)
