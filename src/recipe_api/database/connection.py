"""Connections to PostgreSQL, whether directly or through a pooler such as PgBouncer.

A pooler in transaction mode may run each transaction in another server session, so the state of a session is lost:
named prepared statements, advisory locks, `SET`. The service keeps no such state except prepared statements, which save
planning each statement again, a third of the time that inserting a row takes. So `Connector` detects poolers, and does
not name prepared statements behind one: asyncpg then sends the text of each statement with its arguments, in one
message, which a pooler passes to one session (docs/decisions/0020-poolers.md).
"""

import asyncio
import ipaddress
import os
import ssl
from functools import partial
from typing import Any, cast
from urllib.parse import quote, urlencode

import asyncpg
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from recipe_api.database_url import SYSTEM_ROOTS, DatabaseUrl, Host, parse

CONNECT_SECONDS = 5
"""How long a request waits for a new connection, for all hosts together."""
MIGRATION_CONNECT_SECONDS = 60
"""Longer, because no request waits for a migration, and a serverless database may have to start first."""
DRIVER_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # if a connection breaks during an operation
)
"""What the driver raises if a connection or a statement fails."""
_STATEMENT_CACHE_SIZE = 100
"""Prepared statements per connection: asyncpg's default."""
_UNPREPARED: dict[str, Any] = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
"""Options that keep SQLAlchemy from caching and naming prepared statements."""


class Connector:
    """Opens connections to one database.

    Args:
        url: The address of the database.
        seconds: The timeout for opening a connection.
        command_seconds: The default timeout of a statement; None for no limit.
    """

    def __init__(self, url: DatabaseUrl, *, seconds: float, command_seconds: float | None = None) -> None:
        self._url = url
        self._seconds = min(seconds, (url.connect_timeout or seconds) * len(url.hosts))
        self._options = _driver_options(url) | {"command_timeout": command_seconds}
        self.prepares = url.prepared_statements is not False
        """Whether statements are prepared by name. Becomes False when a connection turns out to be a pooler's."""

    async def connect(self, *_: object, **__: object) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection. Arguments are ignored, so that this can be the `connect` of a pool."""
        async with asyncio.timeout(self._seconds):
            prepares = self.prepares
            connection = await self._open(prepares=prepares)
            if not prepares or self._url.prepared_statements:
                return connection
            # Another connection may detect the pooler while this one, which prepares statements, is opening.
            if self.prepares and await is_direct(connection):
                return connection
            self.prepares = False
            connection.terminate()
            return await self._open(prepares=False)

    async def _open(self, *, prepares: bool) -> "asyncpg.Connection[asyncpg.Record]":
        """Connect to the first host that accepts the connection.

        asyncpg can try several hosts, but with one timeout for all of them. A first host that has disappeared from the
        network would use it up, and the others would not be tried.
        """
        *others, last = self._candidates()
        for host, session in others:
            try:
                return await self._open_at(
                    host, session, prepares=prepares, seconds=self._seconds / len(self._url.hosts)
                )
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched):
                continue
        return await self._open_at(*last, prepares=prepares, seconds=self._seconds)

    def _candidates(self) -> list[tuple[Host, dict[str, str]]]:
        """Return each host with the required type of session, in order of preference."""
        wanted = self._url.driver.get("target_session_attrs")
        kinds = ["standby", "any"] if wanted == "prefer-standby" else [wanted]
        return [(host, {"target_session_attrs": kind} if kind else {}) for kind in kinds for host in self._url.hosts]

    async def _open_at(
        self, host: Host, session: dict[str, str], *, prepares: bool, seconds: float
    ) -> "asyncpg.Connection[asyncpg.Record]":
        try:
            connection = await asyncpg.connect(
                **(self._options | session),
                host=host.name,
                port=host.port,
                timeout=seconds,
                statement_cache_size=_STATEMENT_CACHE_SIZE if prepares else 0,
            )
        except (asyncpg.DataError, asyncpg.SyntaxOrAccessError) as error:  # no statement has been sent yet
            raise ConnectionError(f"the server rejects the options in DATABASE_URL: {error}") from error
        return cast("asyncpg.Connection[asyncpg.Record]", connection)


async def is_direct(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Return whether a connection leads to one server process, instead of a pooler.

    A server starts a session by sending its process ID (BackendKeyData, which serves to cancel statements). A pooler
    sends another number, because the process changes. The query uses the simple protocol, which needs no prepared
    statement, and for which asyncpg returns only the number of rows.
    """
    try:
        status = await connection.execute(f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid():d}")
    except BaseException:
        connection.terminate()  # otherwise it would stay open until it is garbage-collected
        raise
    return bool(status == "SELECT 1")


def engine_on(connector: Connector, **pool: object) -> AsyncEngine:
    """Return a SQLAlchemy engine that uses a connector. Connections are opened on first use."""

    def connect() -> DBAPIConnection:
        # SQLAlchemy also caches prepared statements, and has to know about a pooler before it wraps a connection.
        opened: Any = dialect.connect(async_creator_fn=connector.connect)
        if not connector.prepares:
            opened = dialect.connect(async_creator_fn=partial(_value, opened.driver_connection), **_UNPREPARED)
        return cast("DBAPIConnection", opened)

    engine = create_async_engine("postgresql+asyncpg://", creator=connect, **pool)
    dialect = engine.dialect
    return engine


def migration_engine(url: str) -> AsyncEngine:
    """Return an engine for Alembic, without a pool and without a timeout for statements."""
    return engine_on(Connector(parse(url), seconds=MIGRATION_CONNECT_SECONDS), poolclass=NullPool)


async def _value(connection: "asyncpg.Connection[asyncpg.Record]") -> "asyncpg.Connection[asyncpg.Record]":
    return connection


def _driver_options(url: DatabaseUrl) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect`, except the host. It accepts `ssl…` parameters only in a DSN."""
    tls, options = _default_mode(url) | dict(url.tls), dict[str, Any](url.driver)
    if tls.get("sslrootcert") == SYSTEM_ROOTS:
        options["ssl"] = _system_roots(tls)
        tls = {name: value for name, value in tls.items() if name == "sslnegotiation"}
    return options | {
        "dsn": f"postgresql://?{urlencode(tls, quote_via=quote)}".rstrip("?"),
        "user": url.user,
        "password": url.password,
        "database": url.database,
        "server_settings": dict(url.server_settings),
    }


def _default_mode(url: DatabaseUrl) -> dict[str, str]:
    """Return `sslmode=require` if a host is not this machine.

    libpq's default, `prefer`, sends the password unencrypted to any server that claims to lack TLS. A mode in the
    URI, in `PGSSLMODE` or in a service file takes precedence; asyncpg reads the latter two.
    """
    names = [host.name or os.environ.get("PGHOST", "") for host in url.hosts]
    if "service" in url.driver or any(map(os.environ.get, ("PGSSLMODE", "PGSERVICE"))) or all(map(is_local, names)):
        return {}
    return {"sslmode": "require"}


def tls_mode(url: DatabaseUrl) -> str:
    """Return the `sslmode` of connections. One that is set in a service file is unknown here."""
    return (_default_mode(url) | dict(url.tls)).get("sslmode") or os.environ.get("PGSSLMODE") or "prefer"


def is_local(name: str) -> bool:
    """Return whether a host is this machine: a socket directory, `localhost`, a loopback address or the default."""
    if not name or name.startswith("/") or name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _system_roots(tls: dict[str, str]) -> ssl.SSLContext:
    """Return a context for `sslrootcert=system`, which asyncpg would treat as a file name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without VERIFY_X509_STRICT, like asyncpg and libpq
    context.load_default_certs()
    context.set_alpn_protocols(["postgresql"])
    if "sslcert" in tls:
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), lambda: tls.get("sslpassword", ""))
    if "sslcrl" in tls:
        context.load_verify_locations(cafile=tls["sslcrl"])
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    for bound in ("min", "max"):
        if version := tls.get(f"ssl_{bound}_protocol_version"):
            setattr(context, f"{bound}imum_version", ssl.TLSVersion[version.replace(".", "_")])
    return context
