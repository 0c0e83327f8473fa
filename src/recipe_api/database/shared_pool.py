"""Connection pools for uploaded rows: what they need of a pool, and the engine's pool in that role.

A process that may have only one connection shares it between uploaded rows and everything else. A row then waits while
a list of recipes is read, and each statement is preceded by a ping, but nothing fails. Never acquire a second
connection while holding one: it would wait for itself.
"""

from collections.abc import Awaitable
from typing import Any, Protocol, cast

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection


class RowConnection(Protocol):
    """The part of an asyncpg connection that uploaded rows need."""

    def fetch(self, query: str, *args: object, timeout: float | None = None) -> Awaitable[list[asyncpg.Record]]:
        """Run a statement and return its rows."""

    def terminate(self) -> None:
        """Close the connection without waiting for the server."""


class RowPool(Protocol):
    """The part of asyncpg's `Pool` that uploaded rows need; `asyncpg.Pool` and `SharedPool` have it."""

    def acquire(self, *, timeout: float) -> Awaitable[RowConnection]:
        """Return a connection, waiting for at most `timeout` seconds."""

    def release(self, connection: Any) -> Awaitable[None]:  # noqa: ANN401 - each pool accepts its own connections only
        """Return a connection to the pool."""

    def expire_connections(self) -> Awaitable[None]:
        """Replace all connections before their next use."""

    def get_size(self) -> int:
        """Return the number of open connections."""

    def terminate(self) -> None:
        """Close all connections without waiting for the server."""


class SharedConnection:
    """A driver connection, checked out of the engine's pool."""

    def __init__(self, checked_out: PoolProxiedConnection) -> None:
        self.checked_out = checked_out
        self.fetch = cast("asyncpg.Connection[asyncpg.Record]", checked_out.driver_connection).fetch

    def terminate(self) -> None:
        """Close the connection without waiting for the server, and return its slot to the pool."""
        self.checked_out.invalidate()
        self.checked_out.close()


class SharedPool:
    """The engine's connections, with the methods of asyncpg's pool that uploaded rows need.

    Args:
        engine: The engine to share. It has its own timeout for a free connection.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def acquire(self, *, timeout: float) -> SharedConnection:  # noqa: ARG002, ASYNC109 - asyncpg's signature
        """Return a connection that has responded to a ping."""
        return SharedConnection(await self._engine.raw_connection())

    async def release(self, connection: SharedConnection) -> None:
        """Return a connection to the pool."""
        connection.checked_out.close()

    async def expire_connections(self) -> None:
        """Do nothing: the engine pings each connection before it uses it."""

    def get_size(self) -> int:
        """Return 1, even before the engine's other users have opened the connection."""
        return 1

    def terminate(self) -> None:
        """Do nothing: the engine closes its connections."""
