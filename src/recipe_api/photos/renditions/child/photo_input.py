"""A file-like object that reads a photo as it arrives, so that the whole photo is never in memory."""

import io
from typing import Protocol

_READ_BYTES = 64 * 1024
"""The capacity of a pipe on Linux."""


class Readable(Protocol):
    """A stream to read a photo from, such as a pipe."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes, or the rest if `size` is negative; nothing at the end."""


class PhotoInput:
    """A file with the photo that arrives on `raw`, for Pillow.

    Pillow first reads the structure of a photo, seeking back and forth, and then its pixels, from front to back. So
    everything that was read is kept until `drop_what_is_read` is called. From then on, bytes are dropped as soon as
    they have been read.
    """

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._end = b""
        self._has_ended = False
        self._kept = bytearray()
        self._start = 0
        """The position of the first byte that is kept."""
        self._at = 0
        self._drops = False

    def end_with(self, end: bytes) -> None:
        """Append bytes to the end of the photo."""
        self._end = end

    def drop_what_is_read(self) -> None:
        """Drop bytes from now on as soon as they have been read. They cannot be read again."""
        self._drops = True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or the rest if `size` is negative; fewer only at the end."""
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
            OSError: The position is relative to the end, or its bytes have been dropped.
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
            if self._drops and self._start + len(self._kept) <= self._at:  # all of it precedes the position
                self._start += len(self._kept)
                self._kept.clear()
