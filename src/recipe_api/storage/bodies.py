"""A part's bytes on their way out, without a copy of them.

aiohttp writes a body of bytes whole: where headers and body go in one piece, and in TLS, that is a copy of the part, on
top of the budget. And it copies a `BytesIO` when it asks for its size. So the part is given in slices, as an async
iterable; botocore, which signs it and asks for its length, reads it as a file.
"""

import os
from collections.abc import AsyncIterator

SLICE_BYTES = 256 * 1024
"""What waits in a connection's own buffer, at most, besides what the kernel holds."""


class Sliced:
    """Bytes that can be read as a file, and iterated over as often as it takes: a kept connection may be closed."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._view = memoryview(body)
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int | None = None) -> memoryview:
        """At most `size` bytes from the position on."""
        end = len(self._view) if size is None or size < 0 else self._position + size
        data = self._view[self._position : end]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._view)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for start in range(0, len(self._view), SLICE_BYTES):
            yield self._view[start : start + SLICE_BYTES]
