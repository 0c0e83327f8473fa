"""A transport that coalesces writes: all data written in one iteration of the event loop is sent in one piece.

uvicorn writes the head and the body of a response one after the other. Each would take a system call and a packet, and
would wake the client: together 5 % of the CPU time of a small upload, and as much again at the sender.
"""

import asyncio
from typing import Any

COALESCED_BYTES = 64 * 1024
"""More data than this is sent at once, so that an app that keeps writing is slowed down by a slow client."""


class CoalescingTransport:
    """Wraps a transport. Operations that must follow earlier writes flush the pending data first."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []
        self._size = 0
        self.written = 0
        """The number of bytes written so far."""

    def write(self, data: bytes) -> None:
        """Send `data` before the next iteration of the event loop."""
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.append(data)
        self._size += len(data)
        self.written += len(data)
        if self._size > COALESCED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send the data that was written, unless the client has disconnected."""
        if self._pending and not self._transport.is_closing():
            self._transport.write(b"".join(self._pending))
        self._pending.clear()
        self._size = 0

    def write_eof(self) -> None:
        """Close the sending side, after the data that was written."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close the connection, after the data that was written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that the socket has not accepted yet."""
        size: int = self._transport.get_write_buffer_size()
        return size + self._size

    def abort(self) -> None:
        """Close the connection at once, and discard the data that has not been sent."""
        self._pending.clear()
        self._size = 0
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the transport
        return getattr(self._transport, name)
