"""A transport that sends what is written within one turn of the event loop as one piece.

uvicorn writes an answer's head and its body one after the other. Each would be a system call and a packet of its own,
and wake the client: a twentieth of the CPU of a small upload, and as much of whoever sends it.
"""

import asyncio
from typing import Any

JOINED_BYTES = 64 * 1024
"""What is more goes at once: an app that writes on and on must come to feel that its client is slow."""


class JoiningTransport:
    """`transport`, and all that it can do; of that, writing and whatever must come after it is joined."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0
        self.written = 0
        """Bytes of all writes."""

    def write(self, data: bytes) -> None:
        """Sends `data` before the next turn."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        self.written += len(data)
        if self._size > JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Sends what was written."""
        if self._held and not self._transport.is_closing():  # else the client is gone
            self._transport.write(b"".join(self._held))
        self._held.clear()
        self._size = 0

    def write_eof(self) -> None:
        """Ends the sending, after all that was written."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Closes the connection, after all that was written."""
        self.flush()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the system has not taken yet."""
        size: int = self._transport.get_write_buffer_size()
        return size + self._size

    def abort(self) -> None:
        """Close the connection at once, without what has not been sent."""
        self._held.clear()
        self._size = 0
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)
