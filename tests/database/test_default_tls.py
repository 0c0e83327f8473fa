"""The default `sslmode`: the password is sent unencrypted only to this machine."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from recipe_api.database.connection import Connector
from recipe_api.database_url import parse
from tests.support.traces import eventually


def connector(url: str) -> Connector:
    return Connector(parse(url), seconds=5)


class TestTheDefault:
    """Without `sslmode`: `require` for other machines, libpq's `prefer` for this one."""

    @pytest.fixture
    def received(self) -> Iterator[tuple[int, list[bytes]]]:
        """The port of a server without TLS, on all addresses of this machine, and the messages of its client."""
        sent: list[bytes] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    with accepted:
                        sent.append(accepted.recv(8))  # SSLRequest
                        accepted.sendall(b"N")
                        sent.append(accepted.recv(4096))

        with socket.create_server(("", 0)) as listener:
            thread = Thread(target=serve)
            thread.start()
            yield listener.getsockname()[1], sent
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()

    async def test_sends_nothing_to_another_machine_that_claims_to_lack_tls(
        self, received: tuple[int, list[bytes]]
    ) -> None:
        port, sent = received
        # 0.0.0.0 reaches this machine, but is not one of its loopback addresses.
        with pytest.raises(ConnectionError, match="rejected SSL"):
            await connector(f"postgres://cook:p4ncakes@0.0.0.0:{port}/recipes").connect()

        assert await asyncio.to_thread(eventually, lambda: len(sent) == 2)
        assert sent[1] == b""

    async def test_can_be_overridden(self, received: tuple[int, list[bytes]]) -> None:
        port, sent = received
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await connector(f"postgres://cook:p4ncakes@0.0.0.0:{port}/recipes?sslmode=prefer").connect()

        assert any(b"cook" in message for message in sent)

    async def test_allows_loopback_without_tls(self, received: tuple[int, list[bytes]]) -> None:
        port, sent = received
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await connector(f"postgres://cook:p4ncakes@localhost:{port}/recipes").connect()

        assert any(b"cook" in message for message in sent)

    @pytest.mark.parametrize(
        ("url", "mode"),
        [
            ("postgres://db.example.com/recipes", "require"),
            ("postgres://10.0.0.5/recipes", "require"),
            ("postgres://db/recipes", "require"),
            ("postgres://[2001:db8::1]/recipes", "require"),
            ("postgres://localhost,db.example.com/recipes", "require"),
            ("postgres://db.example.com/recipes?sslmode=disable", "disable"),
            ("postgres://db.example.com/recipes?sslmode=verify-full", "verify-full"),
            ("postgres://localhost/recipes", None),
            ("postgres://127.0.0.1,[::1]/recipes", None),
            ("postgres:///recipes", None),
            ("postgres:///recipes?host=/var/run/postgresql", None),
            ("postgres://db.example.com/?service=recipes", None),
        ],
    )
    async def test_depends_on_where_the_database_is(
        self, url: str, mode: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert await mode_of(url, monkeypatch) == mode

    @pytest.mark.parametrize("variable", ["PGSSLMODE", "PGSERVICE"])
    async def test_leaves_the_choice_to_the_variables_of_libpq(
        self, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "verify-full")

        assert await mode_of("postgres://db.example.com/recipes", monkeypatch) is None

    async def test_considers_the_host_in_pghost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGHOST", "db.example.com")

        assert await mode_of("postgres:///recipes", monkeypatch) == "require"


async def mode_of(url: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Return the `sslmode` that is passed to the driver, if any."""
    dsns: list[str] = []

    async def connect(*, dsn: str, **_: object) -> None:
        dsns.append(dsn)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncpg, "connect", connect)
    with pytest.raises(OSError):  # noqa: PT011 - which OSError does not matter
        await connector(url).connect()
    return parse_qs(urlsplit(dsns[0]).query).get("sslmode", [None])[0]
