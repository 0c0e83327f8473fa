"""Connections for `DirectStatements`: those of uploaded rows, and the engine's, on which recipes are read.

A process that may have only one connection shares it between uploaded rows and everything else. A row then waits while
a list of recipes is read, but nothing fails. Never acquire a second connection while holding one: it would wait for
itself.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

IDLE_SECONDS = 300
"""How long a connection may be idle. Firewalls silently drop connections that have been idle for longer."""

_log = structlog.get_logger(__name__)


class RowConnection(Protocol):
    """The part of an asyncpg connection that statements need."""

    def fetch(self, query: str, *args: object, timeout: float | None = None) -> Awaitable[list[asyncpg.Record]]:
        """Run a statement and return its rows."""


class Connection(RowConnection, Protocol):
    """The part of an asyncpg connection that its pool needs."""

    def is_closed(self) -> bool:
        """Return whether the connection has been closed, by either side."""

    def terminate(self) -> None:
        """Close the connection without waiting for the server."""


class RowPool(Protocol):
    """Connections for single statements."""

    def acquire(self, *, timeout: float) -> Awaitable[RowConnection]:
        """Return a connection, waiting for at most `timeout` seconds."""

    def release(self, connection: Any, *, is_usable: bool) -> None:  # noqa: ANN401 - each pool accepts its own only
        """Return a connection to the pool. Unless it is usable, it is closed without waiting for the server."""

    def discard_idle(self) -> None:
        """Close the connections that are not in use."""

    def terminate(self) -> None:
        """Close all connections of this pool without waiting for the server."""

    @property
    def size(self) -> int:
        """The number of open connections."""


class ReservedPool:
    """Connections that only uploaded rows use. They are opened on first use.

    asyncpg's own pool wraps each connection, and starts a task and several timers each time one is used.

    Args:
        connect: Opens a connection.
        limit: The maximum number of connections.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, limit: int) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(limit)
        self._open: set[Connection] = set()
        self._idle: deque[tuple[float, Connection]] = deque()  # with the time of last use, in that order
        self._expiry: asyncio.TimerHandle | None = None  # expires the first of them

    @property
    def size(self) -> int:
        """The number of open connections."""
        return sum(not connection.is_closed() for connection in self._open)

    async def acquire(self, *, timeout: float) -> Connection:  # noqa: ASYNC109 - the usual path needs no timer
        """Return a connection, waiting for at most `timeout` seconds.

        Raises:
            TimeoutError: No connection became free or could be opened in time.
            Exception: What `connect` raises.
        """
        if not self._slots.locked() and (connection := self._take_idle()):
            await self._slots.acquire()  # without waiting
            return connection
        async with asyncio.timeout(timeout):
            await self._slots.acquire()
            try:
                return self._take_idle() or await self._open_another()
            except BaseException:
                self._slots.release()
                raise

    def release(self, connection: Connection, *, is_usable: bool) -> None:
        """Return a connection to the pool. Unless it is usable, it is closed without waiting for the server."""
        if is_usable:
            self._keep(connection)
        else:
            self._discard(connection)
        self._slots.release()

    def discard_idle(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._discard(self._idle.pop()[1])

    def terminate(self) -> None:
        """Close all connections without waiting for the server."""
        if self._expiry is not None:
            self._expiry.cancel()
        for connection in self._open:
            connection.terminate()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            _, connection = self._idle.pop()  # the one used last, so that surplus connections expire
            if not connection.is_closed():
                return connection
            self._discard(connection)
        return None

    async def _open_another(self) -> Connection:
        connection = await self._connect()
        self._open.add(connection)
        return connection

    def _keep(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time(), connection))
        if self._expiry is None:
            self._expiry = loop.call_later(IDLE_SECONDS, self._close_expired)

    def _close_expired(self) -> None:
        loop, self._expiry = asyncio.get_running_loop(), None
        while self._idle and self._idle[0][0] + IDLE_SECONDS <= loop.time():
            self._discard(self._idle.popleft()[1])
        if self._idle:
            self._expiry = loop.call_at(self._idle[0][0] + IDLE_SECONDS, self._close_expired)

    def _discard(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.terminate()


class SharedConnection:
    """A driver connection, checked out of the engine's pool."""

    def __init__(self, checked_out: PoolProxiedConnection) -> None:
        self.checked_out = checked_out
        self.fetch = cast("RowConnection", checked_out.driver_connection).fetch


class SharedPool:
    """The engine's connections in the role of a `RowPool`.

    Args:
        engine: The engine to share. It has its own timeout for a free connection.
    """

    size = 1
    """Even before the engine's other users have opened the connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def acquire(self, *, timeout: float) -> SharedConnection:  # noqa: ARG002, ASYNC109 - the engine's applies
        """Return a connection that works, as `liveness` checks."""
        return SharedConnection(await self._engine.raw_connection())

    def release(self, connection: SharedConnection, *, is_usable: bool) -> None:
        """Return a connection to the engine's pool, or close it without waiting for the server."""
        if not is_usable:
            connection.checked_out.invalidate()
        try:
            connection.checked_out.close()
        except Exception:  # noqa: BLE001 - the statement has succeeded or failed, whatever happens to the connection
            _log.warning("could not return a database connection to the pool")

    def discard_idle(self) -> None:
        """Do nothing: the engine checks connections before it uses them."""

    def terminate(self) -> None:
        """Do nothing: the engine closes its connections."""
