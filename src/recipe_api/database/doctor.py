"""Diagnosis of a database: checks of what the service needs, with its settings and its own way to connect.

Nothing is written.
"""

import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from recipe_api.database.capacity import Capacity, Demand
from recipe_api.database.connection import is_direct, is_local, tls_mode
from recipe_api.database.schema import REVISION, is_read_only, missing_privileges, outdated, read_columns, revision_of
from recipe_api.database.session import FAILURES, READ_ONLY, open_engine, translate_errors
from recipe_api.database_url import DatabaseUrl, parse
from recipe_api.diagnosis.checks import Check, Result, examine, fail, ok, skip, warn
from recipe_api.diagnosis.commands import Commands
from recipe_api.errors import DatabaseUnavailable
from recipe_api.settings import DatabaseSettings

SKEW_WARNS = timedelta(minutes=3)
"""A difference from the database's clock is harmless in itself, but shows that one of the clocks is wrong."""
_VERIFYING = {"verify-ca", "verify-full"}
_ENCRYPTING = {"require", *_VERIFYING}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseContext:
    """What all checks of one run share."""

    engine: AsyncEngine
    url: DatabaseUrl
    demand: Demand | None
    """The connections that the service opens; None if its settings are invalid."""
    commands: Commands
    clock: Callable[[], datetime]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection.

        Raises:
            DatabaseUnavailable: PostgreSQL is unavailable, or forbids a statement of the block.
        """
        with translate_errors():
            async with self.engine.connect() as connection:
                yield connection


async def examine_database(
    settings: DatabaseSettings,
    *,
    demand: Demand | None,
    commands: Commands,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncGenerator[Result, None]:
    """Yield a result for each check, in order."""
    async with open_engine(settings) as engine:
        url = parse(settings.database_url.get_secret_value())
        context = DatabaseContext(engine=engine, url=url, demand=demand, commands=commands, clock=clock)
        async with aclosing(examine(CHECKS, context, failures=FAILED, describe=_describe)) as results:
            async for result in results:
                yield result


def _describe(failure: Exception) -> str:
    return (failure.reason if isinstance(failure, DatabaseUnavailable) else "") or str(failure).partition("\n")[0]


async def connection(context: DatabaseContext) -> Result:
    """Check whether PostgreSQL accepts a connection."""
    async with context.connected() as connected:
        version = await connected.scalar(text("SELECT current_setting('server_version')"))
        through = ", through a pooler" if await _is_pooled(connected) else ""
    return ok("connection", f"PostgreSQL {version} responds{through}")


async def _is_pooled(connected: AsyncConnection) -> bool:
    raw = await connected.get_raw_connection()
    return not await is_direct(cast("asyncpg.Connection[asyncpg.Record]", raw.driver_connection))


async def encryption(context: DatabaseContext) -> Result:
    """Check whether connections to other machines are encrypted."""
    if all(is_local(host.name or "") for host in context.url.hosts):
        return ok("encryption", "not needed: the database is on this machine")
    mode = tls_mode(context.url)
    if mode in _VERIFYING:
        return ok("encryption", f"sslmode={mode}: encrypted, and the server's certificate is verified")
    if mode in _ENCRYPTING or await _is_encrypted(context):
        return ok("encryption", f"sslmode={mode}: encrypted, but the server's certificate is not verified")
    return warn(
        "encryption",
        f"sslmode={mode}: not encrypted, so others on the network may read the password. Set sslmode=require, or "
        "verify-full, in DATABASE_URL.",
    )


async def _is_encrypted(context: DatabaseContext) -> bool:
    async with context.connected() as connected:
        if await _is_pooled(connected):  # the server sees only its connection to the pooler
            return False
        return bool(await connected.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")))


async def migrations(context: DatabaseContext) -> Result:
    """Check whether the database has the migrations of this release."""
    async with context.connected() as connected:
        exists = await connected.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
        found = await revision_of(connected) if exists else None
    if found is None or found < REVISION:
        return fail("migrations", outdated(found), context.commands.run("alembic", "upgrade", "head"))
    if found > REVISION:
        newer = f"The database is at migration {found}, which is newer than {REVISION}, the newest in this release."
        return warn("migrations", f"{newer} Deploy the release that migrated it, unless you have rolled back.")
    return ok("migrations", f"at {found}, as this release needs")


async def privileges(context: DatabaseContext) -> Result:
    """Check whether the user may read and write all tables."""
    async with context.connected() as connected:
        missing = await missing_privileges(connected)
        user = await connected.scalar(text("SELECT quote_ident(current_user)"))
    if not missing:
        return ok("privileges", "the user may read and write all tables")
    remedy = f'psql "URL-OF-THE-TABLES-OWNER" -c {shlex.quote("; ".join(_grants(missing, user)))}'
    return fail("privileges", f"The user in DATABASE_URL lacks {', '.join(missing)}.", remedy)


def _grants(missing: list[str], user: str) -> Iterator[str]:
    """Yield a statement for each kind of privilege in a list such as `INSERT on recipe`, sorted."""
    for privilege, group in groupby((each.split(" on ") for each in missing), key=itemgetter(0)):
        yield f"GRANT {privilege} ON {', '.join(table for _, table in group)} TO {user}"


async def tables(context: DatabaseContext) -> Result:
    """Check whether the tables have the columns of this release."""
    async with context.connected() as connected:
        await read_columns(connected)
    return ok("tables", "they have all columns that this release needs")


async def writes(context: DatabaseContext) -> Result:
    """Check whether the database accepts writes."""
    async with context.connected() as connected:
        if await is_read_only(connected):
            return fail("writes", READ_ONLY)
    return ok("writes", "the database accepts them")


async def connections(context: DatabaseContext) -> Result:
    """Check whether the database allows as many connections as the service may open."""
    demand = context.demand
    if demand is None:
        return skip("connections", "not checked, because the settings are invalid")
    async with context.connected() as connected:
        if await _is_pooled(connected):
            what = "the pooler's own limit cannot be read from here (PgBouncer: max_client_conn)"
            return skip("connections", f"{what}; it must allow {demand}")
        capacity = await Capacity.read(connected)
    return judge(demand, capacity, context.commands)


def judge(demand: Demand, capacity: Capacity, commands: Commands) -> Result:
    """Return whether a database's limits suffice."""
    name, limit = capacity.lowest_limit
    if demand.total > limit:
        size = demand.pool_size_within(limit)
        remedy = commands.set_variables(DATABASE_POOL_SIZE=str(size)) if size >= 1 else ""
        advice = "" if remedy else " Run fewer processes or instances, use a larger plan, or a pooler."
        return fail(
            "connections", f"The service may open {demand}, and the limit of the {name} is {limit}.{advice}", remedy
        )
    if demand.total > capacity.left_by_others:
        others = capacity.used - capacity.used_by_role
        detail = f"The service may open {demand}. The limit of the server is {capacity.limits['server']}, and others"
        return warn("connections", f"{detail} use {others} of them at present.")
    return ok("connections", f"up to {demand}; the limit of the {name} is {limit}, {capacity.used_by_role} are in use")


async def clock(context: DatabaseContext) -> Result:
    """Check whether this machine's clock agrees with the database's."""
    async with context.connected() as connected:
        there = await connected.scalar(text("SELECT clock_timestamp()"))
    skew = abs(context.clock() - cast("datetime", there))
    if skew < SKEW_WARNS:
        return ok("clock", "agrees with the database's")
    minutes = f"{skew.total_seconds() / 60:.0f} minutes"
    detail = f"This machine's clock and the database's differ by {minutes}."
    consequence = "If this machine's is wrong, new recipes get a wrong time."
    return warn("clock", f"{detail} {consequence}", context.commands.set_clock)


FAILED = (DatabaseUnavailable, *FAILURES)

CHECKS = (
    Check("connection", connection),
    Check("encryption", encryption, ("connection",)),
    Check("writes", writes, ("connection",)),
    Check("migrations", migrations, ("connection",)),
    Check("privileges", privileges, ("migrations",)),
    Check("tables", tables, ("privileges",)),
    Check("connections", connections, ("connection",)),
    Check("clock", clock, ("connection",)),
)
"""In this order."""
