"""A request body for the store: a chain of the chunks that arrived, never copied into one buffer.

Large chunks are kept as they are. Small ones, such as a slow client sends, are joined into blocks, so that a body takes
little more memory than it has bytes. A buffer for a whole part would cost another copy of every byte and, in page
faults, three times as much as the copy (docs/benchmarks.md, "What was tried").
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

from isal import isal_zlib

from recipe_api.units import KIB, MIB

KEPT_BYTES = 32 * KIB
"""The smallest chunk that is kept as it is. It may be a slice that keeps a whole read in memory. Up to 256 KiB are read
beyond the end of a part, so the waste at both ends is at most 224 KiB."""
BLOCK_BYTES = 256 * KIB
"""The size up to which small chunks are joined, and the most that a connection that copies, over TLS, gets at once."""
LONG_BYTES = MIB
"""The smallest body that is hashed in a thread. A thread costs 0.1 ms, but leaves the event loop to other requests."""


class Body:
    """Bytes in blocks, to which more can be appended until it is sent.

    It has a length but is not iterable: `[*body]` would allocate a list for as many items as the body has bytes.
    """

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self._blocks: list[memoryview | bytearray] = []
        self._gathered: bytearray | None = None
        self._size = 0
        self._crc = 0
        if data:
            self.append(memoryview(data))

    def append(self, data: memoryview) -> None:
        """Append bytes, which must not change afterwards."""
        self._size += len(data)
        self._crc = isal_zlib.crc32(data, self._crc)  # now, while the bytes are in a CPU cache: about 20 µs per MiB
        if len(data) >= KEPT_BYTES:
            self._blocks.append(data)
            self._gathered = None
        elif data:
            if self._gathered is None or len(self._gathered) + len(data) > BLOCK_BYTES:
                self._gathered = bytearray()
                self._blocks.append(self._gathered)
            self._gathered += data

    def clear(self) -> None:
        """Release the bytes, even if something, such as the traceback of a failure, still refers to the body."""
        self._blocks.clear()
        self._gathered = None

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> Iterator[memoryview]:
        """Yield the bytes in pieces of at most `BLOCK_BYTES`."""
        for view in self.blocks():
            for start in range(0, len(view), BLOCK_BYTES):
                yield view[start : start + BLOCK_BYTES]

    def blocks(self) -> Iterator[memoryview]:
        """Yield the bytes in pieces of any size."""
        return map(memoryview, self._blocks)

    def crc32(self) -> int:
        """Return the CRC-32 of all bytes."""
        return self._crc

    async def sha256(self) -> str:
        """Return the SHA-256 of all bytes in hexadecimal. It takes 600 µs per MiB, for a long body in a thread."""
        return self._sha256() if len(self) < LONG_BYTES else await asyncio.to_thread(self._sha256)

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for block in self._blocks:
            digest.update(block)
        return digest.hexdigest()


class BodyFile:
    """A request body for botocore, which measures and signs it as a file. aiohttp then sends it without a copy.

    It can be iterated over repeatedly, because a request is sent again if the server has closed a kept connection.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._position = 0

    def __len__(self) -> int:
        return len(self._body)

    def read(self, size: int | None = None) -> bytes:
        """Read at most `size` bytes from the current position."""
        end = len(self._body) if size is None or size < 0 else min(len(self._body), self._position + size)
        data = b"".join(self._between(self._position, end))
        self._position += len(data)
        return data

    def _between(self, start: int, end: int) -> Iterator[memoryview]:
        before = 0
        for piece in self._body.pieces():
            if before < end and before + len(piece) > start:
                yield piece[max(0, start - before) : end - before]
            before += len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the current position and return it."""
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._body)}[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the current position."""
        return self._position

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for piece in self._body.pieces():
            yield piece
