"""Connections to a real PostgreSQL: the choice of the host, session settings, and TLS verification."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from recipe_api.database.connection import CONNECT_SECONDS, Connector, engine_on, migration_engine
from recipe_api.database.session import session
from recipe_api.database_url import parse
from recipe_api.errors import DatabaseUnavailable
from tests.support.authority import Authority
from tests.support.service import HOST, closed_port


def uri(database_url: str, hosts: str | None = None, **parameters: str) -> str:
    """Return the URI of the test database with other hosts or parameters."""
    parts = urlsplit(database_url)
    login, _, place = parts.netloc.rpartition("@")
    query = "&".join(f"{name}={quote(value, '')}" for name, value in parameters.items())
    return parts._replace(netloc=f"{login}@{(hosts or '{}').format(place)}", query=query).geturl()


def connector(url: str, *, seconds: float = CONNECT_SECONDS) -> Connector:
    return Connector(parse(url), seconds=seconds)


async def value_of(opened_by: Connector, statement: str) -> object:
    connection = await opened_by.connect()
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that accepts connections and never sends anything."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield f"{HOST}:{listener.getsockname()[1]}"


class TestHosts:
    async def test_that_refuse_connections_are_skipped(self, database_url: str) -> None:
        url = uri(database_url, f"{HOST}:{closed_port()},{{}}")

        assert await value_of(connector(url), "SELECT 1") == 1

    @pytest.mark.slow
    async def test_that_do_not_respond_leave_time_for_the_others(self, database_url: str, silent: str) -> None:
        url = uri(database_url, f"{silent},{{}}", sslmode="disable")

        assert await value_of(connector(url, seconds=6), "SELECT 1") == 1

    async def test_that_do_not_respond_time_out(self, database_url: str, silent: str) -> None:
        with pytest.raises(TimeoutError):
            await connector(uri(database_url, f"{silent},{silent}"), seconds=0.2).connect()

    async def test_have_the_timeout_of_the_uri(self, database_url: str, silent: str) -> None:
        async with asyncio.timeout(30):
            with pytest.raises(TimeoutError):
                await connector(uri(database_url, silent, connect_timeout="1"), seconds=60).connect()

    async def test_of_the_wrong_type_are_not_used(self, database_url: str) -> None:
        with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
            await connector(uri(database_url, "{0},{0}", target_session_attrs="standby")).connect()

    @pytest.mark.parametrize("kind", ["any", "primary", "read-write", "prefer-standby"])
    async def test_of_the_right_type_are_used(self, database_url: str, kind: str) -> None:
        url = uri(database_url, f"{HOST}:{closed_port()},{{}}", target_session_attrs=kind)

        assert await value_of(connector(url), "SELECT pg_is_in_recovery()") is False

    async def test_that_reject_the_password_raise_an_error(self, database_url: str) -> None:
        """Another host would reject it too, and the error says what is wrong."""
        with pytest.raises(asyncpg.InvalidPasswordError):
            await connector(uri(database_url, password="wrong")).connect()


class TestSession:
    async def test_of_a_server_keeps_its_prepared_statements(self, database_url: str) -> None:
        opened = connector(database_url)
        connection = await opened.connect()
        try:
            for _ in range(2):
                await connection.fetch("SELECT 42")
            prepared = await connection.fetch("SELECT statement FROM pg_prepared_statements")
        finally:
            await connection.close()

        assert opened.prepares
        assert "SELECT 42" in {each["statement"] for each in prepared}

    @pytest.mark.parametrize("parameter", ["prepared_statements", "statement_cache_size"])
    async def test_uses_no_prepared_statements_if_the_uri_disables_them(
        self, database_url: str, parameter: str
    ) -> None:
        value = {"prepared_statements": "false", "statement_cache_size": "0"}[parameter]
        opened = connector(uri(database_url, **{parameter: value}))
        engine = engine_on(opened)
        async with engine.connect() as connection:
            for _ in range(2):
                await connection.execute(text("SELECT 42"))
            prepared = await connection.scalar(text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"))
        await engine.dispose()

        assert prepared == 0
        assert not opened.prepares

    async def test_starts_with_the_settings_of_the_uri(self, database_url: str) -> None:
        url = uri(database_url, application_name="recipes + co", options="-c statement_timeout=4321ms")

        assert await value_of(connector(url), "SHOW application_name") == "recipes + co"
        assert await value_of(connector(url), "SHOW statement_timeout") == "4321ms"

    async def test_of_a_migration_starts_with_the_settings_of_the_uri(self, database_url: str) -> None:
        engine = migration_engine(uri(database_url, application_name="migrations"))
        async with engine.connect() as connection:
            assert await connection.scalar(text("SHOW application_name")) == "migrations"
        await engine.dispose()

    @pytest.mark.parametrize("options", ["-c no_such_setting=1", "-c statement_timeout=soon", "--nonsense"])
    async def test_with_options_that_the_server_rejects_does_not_start(self, database_url: str, options: str) -> None:
        opened = connector(uri(database_url, options=options))

        with pytest.raises(ConnectionError, match="rejects the options in DATABASE_URL"):
            await opened.connect()
        engine = engine_on(opened)
        with pytest.raises(DatabaseUnavailable):
            async with session(engine) as failing:
                await (await failing.connection()).execute(text("SELECT 1"))

    async def test_that_stops_responding_after_the_login_is_closed(self, database_url: str) -> None:
        async with silent_at_first_query(database_url) as (host, closed):
            with pytest.raises(TimeoutError):
                await connector(uri(database_url, host, sslmode="disable"), seconds=1).connect()

            await asyncio.wait_for(closed.wait(), 60)


@asynccontextmanager
async def silent_at_first_query(database_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Forward a login and drop everything after it. Yield the address, and an event for when the client has closed."""
    place, closed = urlsplit(database_url), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(place.hostname, place.port)
        responses = asyncio.create_task(_copy(upstream[0], writer))
        is_login = True
        with suppress(OSError):
            while data := await reader.read(65536):
                is_login = is_login and not data.startswith(b"Q")
                if is_login:
                    upstream[1].write(data)
        closed.set()
        upstream[1].close()
        await responses

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}", closed


@asynccontextmanager
async def behind_tls(database_url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Terminate TLS in front of the database, and yield the address."""
    place = urlsplit(database_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S")
            await writer.start_tls(context)
            upstream = await asyncio.open_connection(place.hostname, place.port)
            await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class TestTls:
    @pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
    async def test_trusts_the_authorities_of_the_uri(self, database_url: str, authority: Authority, mode: str) -> None:
        async with behind_tls(database_url, authority.server) as host:
            url = uri(database_url, host, sslmode=mode, sslrootcert=str(authority.bundle))

            assert await value_of(connector(url), "SELECT 1") == 1

    async def test_trusts_any_certificate_if_only_encryption_is_required(
        self, database_url: str, authority: Authority
    ) -> None:
        async with behind_tls(database_url, authority.server) as host:
            assert await value_of(connector(uri(database_url, host, sslmode="require")), "SELECT 1") == 1

    @pytest.mark.parametrize(
        "parameters",
        [
            {"channel_binding": "require"},
            {"channel_binding": "require", "sslmode": "require"},
            {"sslrootcert": "system"},
        ],
    )
    async def test_trusts_only_the_system_if_verification_is_required(
        self, database_url: str, authority: Authority, parameters: dict[str, str]
    ) -> None:
        async with behind_tls(database_url, authority.server) as host:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connector(uri(database_url, host, **parameters)).connect()

    async def test_verifies_the_server_with_the_authorities_of_the_uri(
        self, database_url: str, authority: Authority
    ) -> None:
        required = {"sslmode": "require", "channel_binding": "require", "sslrootcert": str(authority.bundle)}
        async with behind_tls(database_url, authority.server) as host:
            assert await value_of(connector(uri(database_url, host, **required)), "SELECT 1") == 1
        async with behind_tls(database_url, authority.other_server) as host:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connector(uri(database_url, host, **required)).connect()

    async def test_is_not_used_if_it_is_optional_and_the_server_lacks_it(self, database_url: str) -> None:
        url = uri(database_url, sslmode="prefer", channel_binding="prefer")

        assert await value_of(connector(url), "SELECT 1") == 1

    async def test_uses_the_files_and_versions_of_the_uri_with_the_systems_authorities(
        self, database_url: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        url = {"sslrootcert": "system", "sslcert": str(authority.bundle.with_name("server.pem"))}
        async with behind_tls(database_url, authority.server) as host:
            versions = {"ssl_min_protocol_version": "TLSv1.3", "ssl_max_protocol_version": "TLSv1.3"}

            assert await value_of(connector(uri(database_url, host, **url, **versions)), "SELECT 1") == 1
