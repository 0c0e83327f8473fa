"""A server that is stopping: readiness, the port, pending and idle connections, and SIGHUP."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from recipe_api.dev.stack import Stack
from tests.conftest import SECRET_KEY
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.ports import accepts, free_port
from tests.support.problems import assert_problem
from tests.support.process import ServerProcess, serving
from tests.support.service import HOST
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

pytestmark = pytest.mark.slow

UPLOAD = request("/recipe", recipe_form(jpeg(50_000)), HEADER)
READINESS = request("/readyz", method="GET")

Start = Callable[[int], AbstractContextManager[ServerProcess]]
either = pytest.mark.parametrize(
    "workers",
    [pytest.param(1, id="one process"), pytest.param(2, id="two workers", marks=pytest.mark.exhaustive)],
)
"""Two workers take three times as long to start, and each of them stops in the same way."""
with_several = pytest.mark.parametrize(
    "workers",
    [pytest.param(1, id="one process", marks=pytest.mark.exhaustive), pytest.param(2, id="two workers")],
)
"""For tests of behaviour that depends on the supervisor."""


@pytest.fixture
def environment(stack: Stack, database_url: str) -> dict[str, str]:
    return {
        **stack.environment(),
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "info",
        "RENDITIONS": "none",
    }


@pytest.fixture
def start(environment: Mapping[str, str], backstage: Backstage, tmp_path: Path) -> Start:
    """Return a function that starts a server with this number of processes and waits for all of them."""
    assert backstage.rows() == []

    @contextmanager
    def started(workers: int) -> Iterator[ServerProcess]:
        with serving(environment, workers=workers, port=free_port(), log=tmp_path / "log") as running:
            assert eventually(lambda: has_logged(running, "Application startup complete", times=workers))
            yield running

    return started


def has_logged(server: ServerProcess, text: str, *, times: int = 1) -> bool:
    return server.log.read_text().count(text) >= times


@contextmanager
def connected(server: ServerProcess) -> Iterator[Wire]:
    """Open a connection on which a request has been served."""
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(READINESS)
        assert wire.read(method="GET").status == 200
        yield wire


@contextmanager
def uploading(server: ServerProcess) -> Iterator[Wire]:
    """Open a connection that has sent an upload except its end, and that a worker has accepted."""
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        wire = Wire(opened)
        wire.send(UPLOAD[:-1000])
        assert eventually(lambda: any(len(each.net_connections()) > 1 for each in server.workers()))
        yield wire


def assert_finishes(upload: Wire) -> None:
    upload.send(UPLOAD[-1000:])
    assert upload.read().status == 201


@either
def test_an_open_connection_gets_503_and_closes(start: Start, workers: int) -> None:
    with start(workers) as server, ExitStack() as opened:
        wires = [opened.enter_context(connected(server)) for _ in range(8)]
        server.terminate()
        assert eventually(lambda: not accepts(server.port))
        for wire in wires:
            wire.send(READINESS)
            response = wire.read(method="GET")
            assert_problem(response, 503, "service-stopping")
            assert response.headers["Retry-After"] == "5"
            assert response.headers["Connection"] == "close"
            assert wire.is_closed()
        server.wait()


@either
def test_a_request_on_an_idle_connection_is_served_after_the_port_has_closed(start: Start, workers: int) -> None:
    with start(workers) as server, connected(server) as wire:
        server.terminate()
        assert eventually(lambda: not accepts(server.port))
        wire.send(UPLOAD[:-1000])
        assert_finishes(wire)
        server.wait()


@either
def test_the_response_to_an_upload_in_progress_closes_the_connection(start: Start, workers: int) -> None:
    with start(workers) as server, uploading(server) as upload:
        server.terminate()
        assert eventually(lambda: has_logged(server, "Shutting down", times=workers))
        upload.send(UPLOAD[-1000:])
        response = upload.read()
        assert response.status == 201
        assert response.headers["Connection"] == "close"
        server.wait()


@with_several
def test_a_pending_connection_is_served(start: Start, workers: int) -> None:
    """The processes are suspended, so that they cannot accept the connection before the signal."""
    with start(workers) as server, ExitStack() as opened:
        for each in server.workers():
            each.suspend()
        wires = [Wire(opened.enter_context(socket.create_connection((HOST, server.port), 60))) for _ in range(20)]
        for wire in wires:
            wire.send(UPLOAD)
        server.terminate()
        for each in server.workers():
            each.resume()
        for wire in wires:
            assert wire.read().status == 201
        server.wait()


def test_sighup_replaces_the_workers_and_an_upload_in_progress_finishes(start: Start) -> None:
    with start(2) as server, uploading(server) as upload, connected(server) as idle:
        before = server.workers()
        os.kill(server.process.pid, signal.SIGHUP)
        assert eventually(lambda: has_logged(server, "Shutting down"))
        assert accepts(server.port)
        idle.send(READINESS)
        assert idle.read(method="GET").status == 200  # the service as a whole is ready
        assert_finishes(upload)
        assert eventually(lambda: not any(each.is_running() for each in before))
        assert eventually(lambda: len(server.workers()) == 2)
        with connected(server):
            pass
        server.terminate()
        assert server.wait() == 0
        assert not has_logged(server, "worker died")


def test_sighup_does_not_end_a_single_process(start: Start) -> None:
    with start(1) as server:
        os.kill(server.process.pid, signal.SIGHUP)
        assert eventually(lambda: has_logged(server, "SIGHUP ignored"))
        with connected(server):
            pass


@with_several
def test_an_upload_finishes_after_the_terminal_was_closed(
    environment: Mapping[str, str], workers: int, backstage: Backstage
) -> None:
    assert backstage.rows() == []
    ours, theirs = os.openpty()
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "recipe_api.cli", "serve", "--host", HOST],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **environment, "PORT": str(port), "WEB_CONCURRENCY": str(workers), "LOG_LEVEL": "error"},
        start_new_session=True,
        preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - there is no other way
    )
    os.close(theirs)
    server = ServerProcess(process=process, port=port, log=Path(os.devnull))
    try:
        assert server.is_ready()
        with uploading(server) as upload:
            os.close(ours)  # closes the terminal
            assert eventually(lambda: not accepts(port))
            assert_finishes(upload)
        assert server.wait() in {0, -signal.SIGTERM}
    finally:
        if process.poll() is None:
            server.kill()
    assert len(backstage.rows()) == 1
