"""The service on a real uvicorn and a real socket, in a thread of this process, so that coverage sees it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import uvicorn

from recipe_api.app import create_app
from recipe_api.server import server_options
from recipe_api.settings import Settings
from tests.support.wire import Wire

HOST = "127.0.0.1"
API_TOKEN = "a-token-of-the-tests"
HTTP_PROTOCOLS = ("recipe_api", "httptools")
"""The values of the setting `HTTP_PROTOCOL`."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: httpx would load the system's certificates for each, which takes longer than a test."""
_START_SECONDS = 60
_STOP_SECONDS = 40
"""Longer than the service's grace period. A server that has not stopped by then fails the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service."""

    settings: Settings
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @contextmanager
    def client(self, token: str | None = None) -> Iterator[httpx.Client]:
        """Open an ordinary client, which sends the bearer token if given."""
        headers = {} if token is None else bearer(token)
        with httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False, verify=NO_TLS) as client:
            yield client

    @contextmanager
    def connect(self) -> Iterator[Wire]:
        """Open a raw connection."""
        with socket.create_connection((HOST, self.port), timeout=60) as opened:
            yield Wire(opened)


def bearer(token: str) -> dict[str, str]:
    """Return the header with a bearer token."""
    return {"Authorization": f"Bearer {token}"}


class _Server(uvicorn.Server):
    """A server that sets `decided` once it has started, or has ended without starting."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.decided = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.decided.set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            super().run(sockets)
        finally:
            self.decided.set()


@contextmanager
def running(settings: Settings, **options: object) -> Iterator[Service]:
    """Run the service on a free port until the block ends; it must then stop within its grace period.

    `options` are options of uvicorn that differ from those of `recipe-api serve`.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((HOST, 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(create_app(settings), **cast("dict[str, Any]", {**server_options(settings), **options}))
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name=f"uvicorn-{port}")
        thread.start()
        try:
            assert server.decided.wait(_START_SECONDS), "the service did not start"
            assert server.started, "the service ended during startup"
            yield Service(settings=settings, port=port)
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)
            assert not thread.is_alive(), "the service did not stop"


def closed_port() -> int:
    """Return a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
