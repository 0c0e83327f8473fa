"""A body on its way into the store: the bytes as they came, in blocks, and never copied to make one of them.

A chunk that came large is kept as it is. Small ones, as a slow client sends them, are gathered into blocks, so that a
body costs little more memory than it has bytes. A buffer for a whole part would cost another copy of every byte, and
three times as much in page faults as the copy (docs/benchmarks.md, "What was tried").
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

from isal import isal_zlib

from recipe_api.settings import KIB, MIB

KEPT_BYTES = 32 * KIB
"""From this size on a chunk is kept as it came. It may be a slice that keeps all of a read in memory: up to 256 KiB are
read beyond the room of a part, so at its two ends that is 224 KiB at most."""
BLOCK_BYTES = 256 * KIB
"""Small chunks are gathered up to this size. A connection that copies what it is given gets as much at once."""
LONG_BYTES = MIB
"""A thread costs 0.1 ms; meanwhile the loop serves others."""


class Body:
    """Bytes in blocks, to which more can be added until it is sent.

    It can be measured and is no iterable: `[*body]` would make room for as many pieces as it has bytes, half a megabyte
    for a small photo.
    """

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self._blocks: list[memoryview | bytearray] = []
        self._gathered: bytearray | None = None
        self._size = 0
        self._crc = 0
        self.append(memoryview(data))

    def append(self, data: memoryview) -> None:
        """Adds bytes; they must not change any more."""
        self._size += len(data)
        self._crc = isal_zlib.crc32(data, self._crc)  # at once, while a cache has the bytes: some 20 µs a MiB
        if len(data) >= KEPT_BYTES:
            self._blocks.append(data)
            self._gathered = None
        elif data:
            if self._gathered is None or len(self._gathered) + len(data) > BLOCK_BYTES:
                self._gathered = bytearray()
                self._blocks.append(self._gathered)
            self._gathered += data

    def clear(self) -> None:
        """Lets go of the bytes. Whoever holds the body still, as the traceback of a failure may, holds nothing then."""
        self._blocks.clear()
        self._gathered = None

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> Iterator[memoryview]:
        """The bytes in pieces of `BLOCK_BYTES` at most."""
        for view in self.blocks():
            for start in range(0, len(view), BLOCK_BYTES):
                yield view[start : start + BLOCK_BYTES]

    def blocks(self) -> Iterator[memoryview]:
        """The bytes in pieces of any size."""
        return map(memoryview, self._blocks)

    def crc32(self) -> int:
        """The CRC-32 of all bytes."""
        return self._crc

    async def sha256(self) -> str:
        """The SHA-256 of all bytes, in hexadecimal; 600 µs a MiB, which a long body takes in a thread."""
        return self._sha256() if len(self) < LONG_BYTES else await asyncio.to_thread(self._sha256)

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for block in self._blocks:
            digest.update(block)
        return digest.hexdigest()


class BodyFile:
    """A body as botocore takes it: a file, to measure and to sign; and an async iterable, which aiohttp does not copy.

    It can be iterated over as often as it takes: a kept connection may be closed when it is used.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._position = 0

    def __len__(self) -> int:
        return len(self._body)

    def read(self, size: int | None = None) -> bytes:
        """At most `size` bytes from the position on."""
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
        """Moves the position."""
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._body)}[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for piece in self._body.pieces():
            yield piece
