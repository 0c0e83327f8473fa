"""Leases: exclusive rights for a minute at a time.

A lease is a row with a holder and an expiry time. The holder renews it; a process that dies loses it when it expires.
It needs no connection, transaction or session, so it survives a failover and works through a pooler in transaction
mode. All times are those of the database, because the clocks of two machines differ.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.session import session
from recipe_api.errors import DatabaseUnavailable

LEASE_SECONDS = 60
"""How long a lease lasts unless it is renewed."""

_HOLD = text(
    """
    INSERT INTO lease AS held (name, holder, held_until)
    VALUES (:name, :holder, now() + :seconds * interval '1 second')
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE held.held_until < now() OR held.holder = excluded.holder
    """
)
"""Take or renew a lease. Changes no row if another holder has it. Idempotent."""
_RELEASE = text("DELETE FROM lease WHERE name = :name AND holder = :holder")


class Lease:
    """A lease, as seen by one holder.

    Args:
        engine: The database.
        name: What the lease is for.
    """

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self._values = {"name": name, "holder": uuid4()}

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[bool]:
        """Hold the lease for as long as the block lasts. Yield False, without the lease, if another holder has it.

        Raises:
            DatabaseUnavailable: The database is unavailable.
        """
        if not await self.renew():
            yield False
            return
        renewal = asyncio.create_task(self._keep())
        try:
            yield True
        finally:
            renewal.cancel()
            with suppress(DatabaseUnavailable):  # the lease then expires by itself
                await self._run(_RELEASE, self._values)

    async def renew(self) -> bool:
        """Take or renew the lease. Return False if another holder has it.

        Call this before anything that requires the lease.

        Raises:
            DatabaseUnavailable: The database is unavailable.
        """
        return await self._run(_HOLD, {**self._values, "seconds": LEASE_SECONDS}) == 1

    async def _keep(self) -> None:
        """Renew the lease until it is lost. The holder notices a loss at its next call of `renew`."""
        held = True
        while held:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with suppress(DatabaseUnavailable):  # already logged, and there is time to retry
                held = await self.renew()

    async def _run(self, statement: TextClause, values: dict[str, object]) -> int:
        async with session(self._engine) as opened:
            done = await (await opened.connection()).execute(statement, values)
            await opened.commit()
        return done.rowcount
