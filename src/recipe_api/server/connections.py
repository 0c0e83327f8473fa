"""Limits what the connections of one process use: file descriptors, and memory for heads and unread responses.

A client may open connections and send nothing, send endless heads, or never read a response. Each of these is cheap
for it, and it needs no token. At each limit, the connection that has waited for its client the longest is closed in
favour of the others. Ordinary clients hardly notice: their heads arrive whole, their responses are read, and a client
whose idle connection is closed opens another.

An ordinary request costs no more than an entry in a dictionary.
"""

import asyncio
import resource
from contextlib import suppress
from typing import Protocol
from weakref import WeakKeyDictionary

from uvicorn.server import ServerState

from recipe_api.observability import RareWarning
from recipe_api.units import KIB, MIB

MAX_OPEN_FILES = 16_384
"""The soft limit is raised to this at most. A process does not have the memory to serve more."""
MAX_CONNECTIONS = 4096
"""Connections of one process. Each takes about 10 kB while it waits."""
RESERVED_FILES = 256
"""Descriptors kept for the store, the database and the event loop; a quarter of them where there are few."""

OPEN_HEAD_BYTES = 32 * MIB
"""The memory that all unfinished heads may use together."""
HEAD_COST = 2 * KIB
"""The memory that an unfinished head uses in addition to its headers."""
HEADER_COST = 150
"""The memory that a header uses in addition to its bytes: a tuple and two `bytes` objects."""

MAX_UNREAD = 128
"""How many connections may have more unread response bytes than a transport buffers (64 KiB)."""
CHECK_SECONDS = 5
"""The interval of checking for unread responses."""
UNREAD_SECONDS = 20
"""How long a client may read nothing of a response."""
RATE_SECONDS = 60
"""The time after which a client must have read a response at `MIN_BYTES_PER_SECOND` on average."""
MIN_BYTES_PER_SECOND = 512


class Connection(Protocol):
    """A connection, as far as it is counted here."""

    @property
    def unsent(self) -> int:
        """The number of response bytes that the socket has not accepted, because the client does not read them."""

    @property
    def written(self) -> int:
        """The number of response bytes so far, including those."""

    @property
    def is_responding(self) -> bool:
        """Whether a response has begun and has not ended."""

    def abandon(self) -> None:
        """Close the connection, whatever is under way on it."""


def raise_file_limit() -> None:
    """Raise the soft limit on open files to the hard one, or to `MAX_OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # the service runs with fewer as well
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connections:
    """The connections of one server.

    Args:
        files: The limit on open files.
    """

    def __init__(self, *, files: int) -> None:
        self._highest_file = files - min(RESERVED_FILES, files // 4)
        self._limit = min(MAX_CONNECTIONS, self._highest_file)
        self.closing_after: float | None = None
        """While the server stops: the number of seconds after which an idle connection closes. Otherwise None."""
        self._open: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}  # the longest first, as in the others below
        self._unread: dict[Connection, _ReadingRate] = {}
        self._blocked: dict[Connection, None] = {}
        self._heads: dict[Connection, int] = {}
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed_for_others = RareWarning("connections closed to make room for others")
        self._refused = RareWarning("connections refused: all others are in use")
        self._closed_heads = RareWarning("unfinished requests closed: their heads take too much memory")
        self._closed_unread = RareWarning("connections closed: their clients do not read the response")

    def admit(self, connection: Connection, *, file: int) -> bool:
        """Add a new connection if there is room for it, and return whether there is. It is idle at first.

        Args:
            connection: The new connection.
            file: Its descriptor. A high number shows that the process has many files open, not only connections.
        """
        if (len(self._open) >= self._limit or file >= self._highest_file) and not self._make_room():
            self._refused.note(open=len(self._open), limit=self._limit, file=file)
            return False
        self._open[connection] = self._idle[connection] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, self._check_unread)
        return True

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        for group in (self._open, self._idle, self._blocked):
            group.pop(connection, None)
        self._unread.pop(connection, None)
        self.end_head(connection)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def mark_busy(self, connection: Connection) -> None:
        """Record that a request has begun."""
        self._idle.pop(connection, None)

    def mark_idle(self, connection: Connection) -> None:
        """Record that no request is in progress."""
        if connection in self._open:
            self._idle[connection] = None

    def update_head(self, connection: Connection, *, received: int, headers: int) -> None:
        """Record the size of an unfinished head. If all of them use too much memory, close the oldest connections."""
        cost = HEAD_COST + received + HEADER_COST * headers
        self._head_bytes += cost - self._heads.get(connection, 0)
        self._heads[connection] = cost
        while self._head_bytes > OPEN_HEAD_BYTES:
            self._closed_heads.note(heads=len(self._heads), bytes=self._head_bytes)
            self._close(next(iter(self._heads)))

    def end_head(self, connection: Connection) -> None:
        """Record that a head is complete, or no longer awaited."""
        self._head_bytes -= self._heads.pop(connection, 0)

    def mark_blocked(self, connection: Connection) -> None:
        """Record that a client leaves much of its response unread. If there are too many of them, close the first."""
        self._blocked[connection] = None
        if len(self._blocked) > MAX_UNREAD:
            self._close_unread(next(iter(self._blocked)))

    def mark_unblocked(self, connection: Connection) -> None:
        """Record that the client has read on."""
        self._blocked.pop(connection, None)

    def _make_room(self) -> bool:
        """Close an idle connection, or else one with a response in progress. Return False if there is neither."""
        waiting = next(iter(self._idle), None) or next((found for found in self._open if found.is_responding), None)
        if waiting is None:
            return False
        self._closed_for_others.note(open=len(self._open), limit=self._limit)
        self._close(waiting)
        return True

    def _close(self, connection: Connection) -> None:
        self.remove(connection)
        connection.abandon()

    def _close_unread(self, connection: Connection) -> None:
        self._closed_unread.note(open=len(self._open), unsent=connection.unsent)
        self._close(connection)

    def _check_unread(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(CHECK_SECONDS, self._check_unread)
        for connection in [found for found in self._open if found.unsent or found in self._unread]:
            if not connection.unsent:
                del self._unread[connection]
                continue
            rate = self._unread.setdefault(connection, _ReadingRate(connection, loop.time()))
            if rate.is_too_slow(connection, loop.time()):
                self._close_unread(connection)


class _ReadingRate:
    """How fast a client reads its responses since it was first found to lag behind."""

    def __init__(self, connection: Connection, now: float) -> None:
        self._began = self._progressed = now
        self._first = self._last = connection.written - connection.unsent

    def is_too_slow(self, connection: Connection, now: float) -> bool:
        read = connection.written - connection.unsent
        if read > self._last:
            self._last, self._progressed = read, now
        waited = now - self._began
        is_slow = waited >= RATE_SECONDS and self._last - self._first < MIN_BYTES_PER_SECOND * waited
        return is_slow or now - self._progressed >= UNREAD_SECONDS


_OF_SERVERS: WeakKeyDictionary[ServerState, Connections] = WeakKeyDictionary()


def connections_of(server: ServerState) -> Connections:
    """Return the connections of a server. Outside tests, a process has only one."""
    found = _OF_SERVERS.get(server)
    if found is None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        unlimited = files == resource.RLIM_INFINITY
        found = _OF_SERVERS[server] = Connections(files=MAX_OPEN_FILES if unlimited else files)
    return found
