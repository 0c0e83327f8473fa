"""The `UploadFile` that is fed from the wire.

A handler reads it as any other upload, and each read takes what has arrived. Nothing is kept: what was read is gone,
so there is no seeking, and no file behind it.

This module imports Starlette for the sake of that one type, the only one below `web/` that does.
"""

import io
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, BinaryIO, NoReturn, cast

from starlette.datastructures import UploadFile

NOTHING = memoryview(b"")

ReadChunk = Callable[[], Coroutine[Any, Any, memoryview]]


class WireFile(UploadFile):
    """A file part while it is arriving. `size` counts the bytes that have been read so far."""

    def __init__(self, read_chunk: ReadChunk, *, filename: str) -> None:
        # UploadFile wants the file it spools to; there is none, and all that would touch it is overridden.
        super().__init__(cast("BinaryIO", None), size=0, filename=filename)
        self._read_chunk = read_chunk
        self._rest = NOTHING

    async def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, as soon as any have arrived; all of the rest when `size` is negative; b"" at the end.

        Raises:
            RequestRefused: The form breaks a rule or a limit, or ends too early.
            ClientDisconnected: Nobody sends any more.
        """
        if size < 0:
            return b"".join([chunk async for chunk in self])
        if size == 0:
            return b""
        arrived = self._rest or await self._read_chunk()
        self._rest = arrived[size:]
        return bytes(self._counted(arrived[:size]))

    async def read_view(self) -> memoryview:
        """What has arrived, where it arrived, without a copy; nothing at the end. Raises what `read` does."""
        arrived = self._rest or await self._read_chunk()
        self._rest = NOTHING
        return self._counted(arrived)

    def _counted(self, data: memoryview) -> memoryview:
        self.size = (self.size or 0) + len(data)
        return data

    async def read_exactly(self, size: int) -> bytes:
        """`size` bytes, or fewer where the file ends before."""
        data = b""
        while len(data) < size and (more := await self.read(size - len(data))):
            data += more
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunk by chunk, each as large as it came."""
        while chunk := await self.read_view():
            yield bytes(chunk)

    async def write(self, data: bytes) -> NoReturn:  # noqa: ARG002 - UploadFile's signature
        raise io.UnsupportedOperation("a file on the wire cannot be written to")

    async def seek(self, offset: int) -> NoReturn:  # noqa: ARG002 - UploadFile's signature
        raise io.UnsupportedOperation("a file on the wire cannot be read twice")

    async def close(self) -> None:
        """Nothing to close: the rest of the form goes with the request."""
