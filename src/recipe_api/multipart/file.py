"""An `UploadFile` that is read while it arrives.

Handlers read it like any other upload; each read returns what has arrived. Nothing is spooled to memory or disk, so
there is no seeking, and each byte can be read once.

This module is the only one below `web/` that imports Starlette, for that one type.
"""

import io
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, BinaryIO, NoReturn, cast

from starlette.datastructures import UploadFile

EMPTY = memoryview(b"")

ReadChunk = Callable[[], Coroutine[Any, Any, memoryview]]


class StreamingFile(UploadFile):
    """A file that is still arriving. `size` is the number of bytes read so far."""

    def __init__(self, read_chunk: ReadChunk, *, filename: str) -> None:
        # UploadFile expects a spool file. There is none, and every method that would use it is overridden.
        super().__init__(cast("BinaryIO", None), size=0, filename=filename)
        self._read_chunk = read_chunk
        self._unread = EMPTY

    async def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes as soon as any arrive, or the rest if `size` is negative; b"" marks the end.

        Raises:
            RequestRefused: The form violates a rule or a limit, or is truncated.
            ClientDisconnected: The client disconnected.
        """
        if size < 0:
            return b"".join([chunk async for chunk in self])
        if size == 0:
            return b""
        chunk = self._unread or await self._read_chunk()
        self._unread = chunk[size:]
        return bytes(self._count(chunk[:size]))

    async def read_view(self) -> memoryview:
        """Read the next chunk without copying it; an empty view marks the end. Raises the same errors as `read`."""
        chunk = self._unread or await self._read_chunk()
        self._unread = EMPTY
        return self._count(chunk)

    def _count(self, data: memoryview) -> memoryview:
        self.size = (self.size or 0) + len(data)
        return data

    async def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer if the file is shorter, without taking them.

        Raises the same errors as `read`.
        """
        while len(self._unread) < size and (chunk := await self._read_chunk()):
            self._unread = memoryview(b"".join((self._unread, chunk))) if self._unread else chunk
        return bytes(self._unread[:size])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks as they arrive."""
        while chunk := await self.read_view():
            yield bytes(chunk)

    async def write(self, data: bytes) -> NoReturn:  # noqa: ARG002 - UploadFile's signature
        raise io.UnsupportedOperation("a streaming file is read-only")

    async def seek(self, offset: int) -> NoReturn:  # noqa: ARG002 - UploadFile's signature
        raise io.UnsupportedOperation("a streaming file cannot seek")

    async def close(self) -> None:
        """Do nothing: the form owns the stream."""
