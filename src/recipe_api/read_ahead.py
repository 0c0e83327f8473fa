"""Flow control between an upload, which knows its memory, and the server, which reads the socket."""

from typing import Protocol


class ReadAhead(Protocol):
    """Limits how much of a request body may be read before the app asks for it.

    The limit only grows, like a flow-control window of HTTP/2 (RFC 9113 §5.2). Once it has been raised, `receive` may
    return chunks as views of memory that no longer changes, instead of bytes.
    """

    def allow(self, size: int) -> None:
        """Raise the limit by `size` bytes."""

    def stop(self) -> None:
        """Discard the bytes that are unread, and read no further than asked. Later bytes of the body still arrive."""


class KeptReadAhead:
    """A read-ahead shared by consecutive leases of memory, none of which stops it.

    Args:
        read_ahead: The read-ahead of the request body. Stop it after the last lease.
    """

    def __init__(self, read_ahead: ReadAhead) -> None:
        self._read_ahead = read_ahead

    def allow(self, size: int) -> None:
        self._read_ahead.allow(size)

    def stop(self) -> None:
        """Do nothing: unread bytes belong to the next lease."""
