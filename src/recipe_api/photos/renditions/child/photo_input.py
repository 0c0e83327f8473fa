"""A photo that Pillow can read while it arrives, so that it is never in memory as a whole."""

import io
from typing import Protocol

_READ_BYTES = 64 * 1024
"""What a pipe holds."""


class Readable(Protocol):
    """What a photo arrives on, such as a pipe."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes, or the rest if it is negative; nothing at the end."""


class PhotoInput:
    """A file with the photo that arrives on `raw`.

    Pillow reads the structure of a photo, moving to and fro, and then its pixels, from front to back. So what was read
    is kept until `drop_what_is_read`; afterwards, it is dropped once it has been read again.

    """

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._end = b""
        self._has_ended = False
        self._kept = bytearray()
        self._start = 0
        """The position of what is kept."""
        self._at = 0
        self._drops = False

    def end_with(self, end: bytes) -> None:
        """Add this at the end of the photo."""
        self._end = end

    def drop_what_is_read(self) -> None:
        """Drop what is read from now on. It cannot be read again."""
        self._drops = True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or all if it is negative, and fewer only at the end."""
        until = None if size < 0 else self._at + size
        self._fill(until)
        first = self._at - self._start
        data = bytes(self._kept[first : None if until is None else until - self._start])
        self._at += len(data)
        if self._drops:
            del self._kept[: self._at - self._start]
            self._start = self._at
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another position.

        Raises:
            OSError: It is relative to the end, or what is there was dropped.
        """
        position = offset + (self._at if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END or position < self._start:
            raise OSError("A photo that is being received cannot be read from there.")
        self._at = position
        return position

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def _fill(self, until: int | None) -> None:
        """Read up to this position, or to the end."""
        while not self._has_ended and (until is None or self._start + len(self._kept) < until):
            data = self._raw.read(_READ_BYTES)
            if not data:
                self._has_ended = True
                data = self._end
            self._kept += data
            if self._drops and self._start + len(self._kept) <= self._at:  # it is skipped
                self._start += len(self._kept)
                self._kept.clear()
