"""Bounds what the connections of one process take: file descriptors, and memory for heads and unread responses.

A client may open connections and send nothing, send heads without an end, or never read a response. Each of these is
cheap for it, and it needs no token. So there are bounds, and where one is reached, the connection that has waited for
its client the longest is closed in favour of the others. Ordinary clients hardly notice: their heads arrive whole,
their responses are read, and a client whose idle connection is closed opens another.

Nothing here costs an ordinary request more than an entry in a dictionary.
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
"""The soft limit is raised to this at most: more descriptors than a process has memory to serve."""
MAX_CONNECTIONS = 4096
"""Of one process; some 10 kB each while they wait."""
RESERVED_FILES = 256
"""Descriptors kept for the store, the database and the event loop; a quarter of them where there are few."""

OPEN_HEAD_BYTES = 32 * MIB
"""Memory that all unfinished heads may take together."""
HEAD_COST = 2 * KIB
"""What an unfinished head takes apart from its headers."""
HEADER_COST = 150
"""What a header takes apart from its bytes: a tuple and two `bytes`."""

MAX_UNREAD = 128
"""Connections whose client leaves more than a transport's buffer (64 KiB) of a response unread."""
LOOK_SECONDS = 5
"""How often unread responses are looked at."""
UNREAD_SECONDS = 20
"""How long a client may read nothing of a response."""
RATE_SECONDS = 60
"""After so long, a client must have read `MIN_BYTES_PER_SECOND` of a response on average."""
MIN_BYTES_PER_SECOND = 512


class Connection(Protocol):
    """What is counted here."""

    @property
    def unsent(self) -> int:
        """Bytes of responses that the system has not taken, since the client does not read."""

    @property
    def written(self) -> int:
        """Bytes of responses so far, those included."""

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
        """While the server stops: after how many seconds an idle connection closes. None before."""
        self._open: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}  # the one that has been idle longest first; so below
        self._unread: dict[Connection, _Reading] = {}
        self._stuck: dict[Connection, None] = {}
        self._heads: dict[Connection, int] = {}
        self._head_bytes = 0
        self._look: asyncio.TimerHandle | None = None
        self._scarce = RareWarning("connections closed to make room for others")
        self._full = RareWarning("connections refused: all others are in use")
        self._memory = RareWarning("unfinished requests closed: their heads take too much memory")
        self._unheard = RareWarning("connections closed: their clients do not read the response")

    def admit(self, connection: Connection, *, file: int) -> bool:
        """Count a new connection, and return whether there is room for it. It is idle at first.

        Args:
            connection: The new one.
            file: Its descriptor. A high one shows that descriptors are scarce, whatever holds the others.
        """
        if (len(self._open) >= self._limit or file >= self._highest_file) and not self._make_room():
            self._full.note(open=len(self._open), limit=self._limit, file=file)
            return False
        self._open[connection] = self._idle[connection] = None
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_at_unread)
        return True

    def lost(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        for group in (self._open, self._idle, self._stuck):
            group.pop(connection, None)
        self._unread.pop(connection, None)
        self.head_ended(connection)
        if not self._open and self._look is not None:
            self._look.cancel()
            self._look = None

    def busy(self, connection: Connection) -> None:
        """Note that a request has begun."""
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Note that nothing is under way until the next request."""
        if connection in self._open:
            self._idle[connection] = None

    def head_grew(self, connection: Connection, *, received: int, headers: int) -> None:
        """Note what an unfinished head takes by now; the oldest ones make room if all take too much."""
        cost = HEAD_COST + received + HEADER_COST * headers
        self._head_bytes += cost - self._heads.get(connection, 0)
        self._heads[connection] = cost
        while self._head_bytes > OPEN_HEAD_BYTES:
            self._memory.note(heads=len(self._heads), bytes=self._head_bytes)
            self._close(next(iter(self._heads)))

    def head_ended(self, connection: Connection) -> None:
        """Note that a head is whole."""
        self._head_bytes -= self._heads.pop(connection, 0)

    def stuck(self, connection: Connection) -> None:
        """Note that a client leaves much unread; of too many such, the first is closed."""
        self._stuck[connection] = None
        if len(self._stuck) > MAX_UNREAD:
            self._close_unheard(next(iter(self._stuck)))

    def unstuck(self, connection: Connection) -> None:
        """Note that the client has read on."""
        self._stuck.pop(connection, None)

    def _make_room(self) -> bool:
        """Close what waits for its client: an idle connection, else one whose response goes unread."""
        waiting = next(iter(self._idle), None) or next((one for one in self._open if one.is_responding), None)
        if waiting is None:
            return False
        self._scarce.note(open=len(self._open), limit=self._limit)
        self._close(waiting)
        return True

    def _close(self, connection: Connection) -> None:
        self.lost(connection)
        connection.abandon()

    def _close_unheard(self, connection: Connection) -> None:
        self._unheard.note(open=len(self._open), unsent=connection.unsent)
        self._close(connection)

    def _look_at_unread(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(LOOK_SECONDS, self._look_at_unread)
        for connection in [one for one in self._open if one.unsent or one in self._unread]:
            if not connection.unsent:
                del self._unread[connection]
                continue
            reading = self._unread.setdefault(connection, _Reading(connection, loop.time()))
            if reading.is_too_slow(connection, loop.time()):
                self._close_unheard(connection)


class _Reading:
    """How a client reads what is sent to it, from the moment when it was first seen to lag behind."""

    def __init__(self, connection: Connection, now: float) -> None:
        self._began = self._progressed = now
        self._first = self._last = connection.written - connection.unsent

    def is_too_slow(self, connection: Connection, now: float) -> bool:
        taken = connection.written - connection.unsent
        if taken > self._last:
            self._last, self._progressed = taken, now
        waited = now - self._began
        is_slow = waited >= RATE_SECONDS and self._last - self._first < MIN_BYTES_PER_SECOND * waited
        return is_slow or now - self._progressed >= UNREAD_SECONDS


_OF_SERVERS: WeakKeyDictionary[ServerState, Connections] = WeakKeyDictionary()


def connections_of(server: ServerState) -> Connections:
    """Return the connections of this server, of which a process has one outside of tests."""
    found = _OF_SERVERS.get(server)
    if found is None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        unlimited = files == resource.RLIM_INFINITY
        found = _OF_SERVERS[server] = Connections(files=MAX_OPEN_FILES if unlimited else files)
    return found
