"""How much each client has used of its quotas, across all processes.

Usage is added in the commit that inserts what is counted, and the totals come back with it. So an uploaded form needs
no extra statement (`inserts`). Each amount is expressed as the time in seconds in which it is restored; see `quota`.
Clients are identified by keyed hashes, because their addresses are personal data. All times are those of the database.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, Float, Interval, Select, bindparam, cast, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.elements import ColumnElement

from recipe_api.database.models import ClientUsage
from recipe_api.database.session import translate_errors

UPLOADS, BYTES = "uploads", "bytes"
"""The columns that `adding` returns, besides the client."""

_FORGET = text(
    "DELETE FROM client_usage WHERE client IN (SELECT client FROM client_usage"
    " WHERE uploads_restored_at < now() AND bytes_restored_at < now() FOR UPDATE SKIP LOCKED)"
)
"""A client that is just being charged is skipped. Waiting for it could deadlock with the charge, which may wait for
another of these rows."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a client has used of its quotas, in seconds."""

    uploads: float
    bytes: float


@dataclass(slots=True)
class Charge:
    """What is added to a client's usage."""

    client: int
    """The keyed hash of the client."""
    uploads: float
    bytes: float
    used: Used | None = None
    """The client's usage including this charge, once it has been added; None if the database did not return it."""

    def values(self) -> dict[str, object]:
        """Return the JSON values that a statement of `inserts` needs in addition to the row."""
        return {"usage_client": self.client, "usage_uploads": self.uploads, "usage_bytes": self.bytes}


def restored_at(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return when an amount that is used now will be restored."""
    return func.now() + seconds * literal_column("interval '1 second'", Interval())


def adding(charges: Select[Any]) -> ReturningInsert[Any]:
    """Return the statement that adds charges to the usage of clients, and returns the totals.

    Args:
        charges: Selects the hash of each client, and when the uploads and the bytes of its charge are restored. The
            clients must be in order: otherwise, two statements could deadlock.
    """
    table = ClientUsage.metadata.tables[str(ClientUsage.__tablename__)].c
    times = table.uploads_restored_at, table.bytes_restored_at
    statement = insert(ClientUsage).from_select([table.client, *times], charges)
    added = {time: func.greatest(time, func.now()) + (statement.excluded[time.name] - func.now()) for time in times}
    totals = (cast(func.extract("epoch", time - func.now()), Float()) for time in times)
    labels = (total.label(name) for total, name in zip(totals, (UPLOADS, BYTES), strict=True))
    return statement.on_conflict_do_update(index_elements=[table.client], set_=added).returning(table.client, *labels)


_ADD = adding(
    select(
        bindparam("client", type_=BigInteger()),
        restored_at(bindparam("uploads", type_=Float())),
        restored_at(bindparam("bytes", type_=Float())),
    )
)


async def add(connection: AsyncConnection, charge: Charge) -> None:
    """Add a charge in a transaction."""
    values = {"client": charge.client, "uploads": charge.uploads, "bytes": charge.bytes}
    _, uploads, size = (await connection.execute(_ADD, values)).one()
    charge.used = Used(uploads, size)


def set_used(charges: Iterable[Charge], found: "Iterable[asyncpg.Record]") -> None:
    """Set `used` of each charge from the rows that `adding` returned."""
    used = {record["client"]: Used(record[UPLOADS], record[BYTES]) for record in found}
    for charge in charges:
        charge.used = used.get(charge.client)


class ClientUsages:
    """The table of usage."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def delete_restored(self) -> None:
        """Delete the usage of clients whose quotas have been restored.

        Raises:
            DatabaseUnavailable: The database is unavailable.
        """
        # The rows stay locked until the commit. So it comes with the statement, not in another round trip.
        with translate_errors():
            async with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                await connection.execute(_FORGET)
