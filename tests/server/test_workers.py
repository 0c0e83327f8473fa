"""Workers that die, hang or lose their supervisor, and the port meanwhile."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from recipe_api.dev.stack import Stack
from recipe_api.server.workers import MAX_DEATHS, Worker
from tests.conftest import SECRET_KEY
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.ports import accepts, free_port
from tests.support.process import ServerProcess, serving
from tests.support.service import HOST
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

pytestmark = pytest.mark.slow

_SERVE = """
import sys, uvicorn
from recipe_api.server import running

if __name__ == "__main__":
    running.run(uvicorn.Config("app:app", host="127.0.0.1", port=int(sys.argv[1]), workers=2))
"""
_APP = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "a setting is wrong"})
"""
UPLOAD = request("/recipe", recipe_form(jpeg(50_000)), HEADER)


@contextmanager
def two_workers(stack: Stack, database_url: str, folder: Path) -> Iterator[ServerProcess]:
    """Start a service with two workers and the log level `warning`."""
    environment = {
        **stack.environment(),
        "RENDITIONS": "none",
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "warning",
    }
    with serving(environment, workers=2, port=free_port(), log=folder / "log") as running:
        assert eventually(lambda: len(running.workers()) == 2)
        yield running


@pytest.fixture
def server(stack: Stack, database_url: str, backstage: Backstage, tmp_path: Path) -> Iterator[ServerProcess]:
    """A service with two workers that have started."""
    assert backstage.rows() == []
    with two_workers(stack, database_url, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting_server(
    stack: Stack, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A service with two workers, shared by the tests that leave it with two: it takes three seconds to start."""
    with two_workers(stack, database_url, tmp_path_factory.mktemp("lasting")) as running:
        yield running


class Withheld:
    """An object that a new process can unpickle only after another process has written to a named pipe."""

    def __init__(self, pipe: Path) -> None:
        self._pipe = pipe

    def __reduce__(self) -> tuple[Callable[[Path], bytes], tuple[Path]]:
        return Path.read_bytes, (self._pipe,)


async def discarding(scope: object, receive: object, send: object) -> None:
    """An ASGI app that is never called."""


class Lasting:
    """The end of a pipe to a supervisor that never stops."""

    def poll(self, _: float | None = None) -> bool:
        return threading.Event().wait()


def test_a_worker_may_start_slowly_but_must_respond_quickly(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    config = uvicorn.Config(discarding, lifespan="off", log_config=None)
    config.withheld = Withheld(pipe)  # type: ignore[attr-defined] # unpickled before the worker responds
    other_end, end = multiprocessing.Pipe(duplex=False)
    with socket.socket() as listener, other_end, end:
        listener.bind((HOST, 0))
        worker = Worker(config, [listener], supervisor=other_end)
        worker.start()
        try:
            assert all(worker.is_alive(timeout=0.01) for _ in range(3))
            assert not worker.is_hung

            pipe.write_bytes(b"")
            assert eventually(lambda: worker.is_ready(timeout=1))
            assert eventually(lambda: worker.is_alive(timeout=1))
            psutil.Process(worker.pid).suspend()
            assert eventually(lambda: not worker.is_alive(timeout=0.01))
            assert worker.is_hung
        finally:
            worker.kill()
            worker.join()


def test_a_worker_creates_its_server_before_it_responds_to_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise two threads might each create one, and the worker would report on the one that does not run."""
    had_server: list[bool] = []
    before = signal.getsignal(signal.SIGINT)

    class Observed(Worker):
        def always_pong(self) -> None:
            had_server.append("server" in vars(self))

    monkeypatch.setattr(uvicorn.Server, "run", lambda *_: None)
    supervisor: Any = Lasting()
    try:
        Observed(uvicorn.Config(discarding), [], supervisor=supervisor).target()
    finally:
        signal.signal(signal.SIGINT, before)
    assert eventually(lambda: had_server == [True])


@pytest.mark.parametrize(
    ("sent", "logged"),
    [(signal.SIGKILL, '"signal": "SIGKILL", "hint": "out of memory?"'), (signal.SIGSEGV, '"signal": "SIGSEGV"')],
)
def test_a_dead_worker_is_replaced_and_its_signal_logged(lasting_server: ServerProcess, sent: int, logged: str) -> None:
    server = lasting_server
    [first, second] = server.workers()
    first.send_signal(sent)

    def lines() -> list[str]:
        return [line for line in server.log.read_text().splitlines() if f'"pid": {first.pid}' in line]

    assert eventually(lambda: any("worker died" in line and logged in line for line in lines()))
    assert eventually(lambda: len(server.workers()) == 2 and first not in server.workers())
    assert second in server.workers()


def test_the_service_exits_with_an_error_if_workers_keep_dying(server: ServerProcess) -> None:
    def kill_workers() -> bool:
        with suppress(psutil.NoSuchProcess):
            for worker in server.workers():
                if worker.pid != server.process.pid:
                    worker.kill()
        return server.process.poll() is not None

    assert eventually(kill_workers)
    assert server.process.wait() == STARTUP_FAILURE
    log = server.log.read_text()
    deaths = log.count("worker died") + log.count("worker killed")  # one may be too slow for the check
    assert MAX_DEATHS <= deaths <= MAX_DEATHS + 1, "both workers may be found dead at the same time"
    assert log.count("service stopped: workers keep dying") == 1


def test_workers_stop_gracefully_when_their_supervisor_is_killed(server: ServerProcess, backstage: Backstage) -> None:
    workers = server.workers()
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(UPLOAD[:-1000])
        assert eventually(lambda: any(len(each.net_connections()) > 1 for each in workers))
        os.kill(server.process.pid, signal.SIGKILL)
        assert eventually(lambda: not accepts(server.port))
        wire.send(UPLOAD[-1000:])
        assert wire.read().status == 201

    assert len(backstage.rows()) == 1
    assert eventually(lambda: not any(each.is_running() for each in workers))


def is_connected(worker: psutil.Process, opened: socket.socket) -> bool:
    """Return whether the worker has the other end of the connection."""
    return any(each.raddr == opened.getsockname() for each in worker.net_connections())


def test_a_worker_that_does_not_respond_is_replaced(lasting_server: ServerProcess) -> None:
    server = lasting_server
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wire.read().status == 200  # the other worker may still be starting, and has a minute for that
        [hung] = [each for each in server.workers() if is_connected(each, opened)]
        hung.suspend()

    assert eventually(lambda: "worker killed: it did not respond" in server.log.read_text())
    assert eventually(lambda: len(server.workers()) == 2 and hung not in server.workers())


def test_a_service_whose_workers_cannot_start_exits_with_code_3(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_APP)
    done = subprocess.run(
        [sys.executable, "-c", _SERVE, str(free_port())],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == STARTUP_FAILURE == 3
    assert "failed to start" in done.stdout + done.stderr


def test_the_port_closes_at_once_when_the_service_stops(server: ServerProcess) -> None:
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(UPLOAD[:-1000])
        assert eventually(lambda: any(len(each.net_connections()) > 1 for each in server.workers()))
        os.kill(server.process.pid, signal.SIGTERM)
        assert eventually(lambda: not accepts(server.port))
        assert server.process.poll() is None  # it waits for the upload
        wire.send(UPLOAD[-1000:])
        assert wire.read().status == 201

    assert server.wait() == 0
