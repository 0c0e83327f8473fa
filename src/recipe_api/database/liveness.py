"""Checks that a pooled connection still works before it is used.

A connection that was in use a moment ago is trusted, unless the driver has noticed that it was closed. Only a network
that drops packets could have broken it unnoticed, and then a check would not get a response either. Any other
connection is checked in one round trip. SQLAlchemy's `pool_pre_ping` takes three, for a transaction, at every checkout.
"""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from recipe_api.database.connection import DRIVER_FAILURES

TRUSTED_SECONDS = 1
"""How long after its last use a connection is trusted: far shorter than firewalls keep the state of an idle one."""

_USED_AT = "recipe_api.used_at"


def check_connections(engine: AsyncEngine) -> None:
    """Check each connection of an engine's pool at checkout. If one is broken, replace it and all older ones."""

    @event.listens_for(engine.sync_engine, "checkin")
    def checked_in(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def checked_out(connection: AdaptedConnection, entry: ConnectionPoolEntry, _: object) -> None:
        used_at = entry.info.get(_USED_AT)
        if used_at is None:  # the connection is new: the pool clears `info` when it replaces one
            return
        driver_connection: Any = connection.driver_connection
        if driver_connection.is_closed():
            raise InvalidatePoolError
        if time.monotonic() - used_at >= TRUSTED_SECONDS:
            _ping(connection)


def _ping(connection: AdaptedConnection) -> None:
    try:
        # The simple protocol: one message, and no prepared statement, which a pooler might lose.
        connection.run_async(lambda driver_connection: driver_connection.execute("SELECT"))
    except DRIVER_FAILURES as error:
        raise InvalidatePoolError from error
