"""Computes when the response to an upload is due: a fixed time after the client may have sent the last byte.

Heroku's router counts from that byte, which may have been sent long before it is read: it may still be in a socket
buffer, or in memory that was read ahead. So the clock estimates from sizes and waiting times when the client may have
sent it. The estimate errs on the early side.
"""

import asyncio
from math import inf

from recipe_api.units import MIB

RESPONSE_SECONDS = 20
"""Time between the last byte and the response. Heroku's router waits 30 s, and cleanup after a failure takes a few."""
SOCKET_BYTES = 6 * MIB
"""Bytes that a socket can buffer: the maximum on Linux, unless `net.ipv4.tcp_rmem` differs."""
AWAITED_SECONDS = 0.1
"""If a chunk takes longer to arrive, the client had not yet sent it or any chunk after it."""


class UploadClock:
    """Estimates when the client may have sent the last byte of one body.

    Args:
        size: The size of the whole body in bytes, if the headers declare it.
        read_ahead: The number of bytes that may have been read from the socket in advance.
    """

    __slots__ = ("_left", "_now", "_sent_at", "_unread")

    def __init__(self, *, size: int | None, read_ahead: int) -> None:
        self._now = asyncio.get_running_loop().time
        self._unread = SOCKET_BYTES + read_ahead
        self._left = inf if size is None else size
        self._sent_at = self._now() if self._left <= SOCKET_BYTES else None

    def count(self, size: int, *, waited: float, now: float) -> None:
        """Count a chunk of the body.

        Args:
            size: The size of the chunk in bytes.
            waited: How long the process waited for it, in seconds.
            now: When the wait ended, in the event loop's time.
        """
        self._left -= size
        if self._sent_at is not None and waited < AWAITED_SECONDS:
            self._sent_at += waited
        elif self._left <= self._unread:
            self._sent_at = now

    @property
    def deadline(self) -> float | None:
        """When the response is due, in the event loop's time; None while the client must still be sending."""
        return None if self._sent_at is None else self._sent_at + RESPONSE_SECONDS

    def stop(self) -> float:
        """Return the deadline, now that the whole body has been read."""
        if self._sent_at is None:
            self._sent_at = self._now()
        return self._sent_at + RESPONSE_SECONDS
