"""The first workers of a service are forks of one process; those that replace them load the installed code."""

import ctypes
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from recipe_api.server.forks import can_fork
from tests.support.ports import free_port
from tests.support.service import HOST
from tests.support.traces import eventually

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not can_fork(), reason="only Linux has subreapers")]

_SERVE = """
import signal, sys, uvicorn
from recipe_api.server import running

if __name__ == "__main__":
    if "--ignore-sigchld" in sys.argv:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    running.run(uvicorn.Config("app:app", host="127.0.0.1", port=int(sys.argv[1]), workers=2))
"""
_APP = """
import os

with open("imports", "a") as imports:
    print(os.getpid(), file=imports)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    body = f"{os.getpid()} VERSION".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


class Service:
    """A service with two workers, in a separate folder."""

    def __init__(self, folder: Path, app: str, *options: str) -> None:
        self.folder, self.port, self.log = folder, free_port(), folder / "log"
        self.install(app)
        with self.log.open("wb") as log:
            command = [sys.executable, "-B", "-c", _SERVE, str(self.port), *options]
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def install(self, app: str) -> None:
        (self.folder / "app.py").write_text(app)

    def imports(self) -> list[int]:
        """Return the ids of the processes that have imported the app."""
        with suppress(FileNotFoundError):
            return [int(line) for line in (self.folder / "imports").read_text().split()]
        return []

    def is_served(self, *, version: str) -> bool:
        """Return whether both workers serve, and run this version."""
        answers = {_answer(self.port) for _ in range(20)}
        return len(answers) == 2 and {answer.partition(" ")[2] for answer in answers} == {version}

    def workers(self) -> set[int]:
        return {int(_answer(self.port).partition(" ")[0]) for _ in range(20)}


def _answer(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}", timeout=10) as response:
            return str(response.read(), "ascii")
    except (OSError, urllib.error.URLError):
        return ""


@contextmanager
def running(folder: Path, app: str, *options: str) -> Iterator[Service]:
    service = Service(folder, app, *options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


def test_the_first_workers_load_the_app_once_and_become_children_of_the_supervisor(tmp_path: Path) -> None:
    with running(tmp_path, _APP) as service:
        assert eventually(lambda: service.is_served(version="VERSION"))

        [loader] = service.imports()
        assert not psutil.pid_exists(loader)
        children = {child.pid for child in psutil.Process(service.process.pid).children()}
        assert len(children) == 2
        assert service.workers() <= children  # one may respond to all requests, which come one after the other
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0


def test_a_worker_that_replaces_another_runs_the_code_that_is_installed_then(tmp_path: Path) -> None:
    with running(tmp_path, _APP) as service:
        assert eventually(lambda: service.is_served(version="VERSION"))
        service.install(_APP.replace("VERSION", "NEXT"))
        os.kill(service.process.pid, signal.SIGHUP)
        assert eventually(lambda: service.is_served(version="NEXT"))
        os.kill(service.imports()[1], signal.SIGKILL)  # the last of the first workers may still be stopping
        assert eventually(lambda: len(service.imports()) == 4)


@pytest.mark.parametrize("failure", ["raise ValueError('broken')", "import os; os.kill(os.getpid(), 9)"])
def test_a_service_whose_app_cannot_be_loaded_exits_with_an_error(tmp_path: Path, failure: str) -> None:
    with running(tmp_path, failure) as service:
        assert service.process.wait(60) == 3
    assert "the app cannot be loaded" in service.log.read_text()


def test_sigterm_ends_a_service_while_it_loads_the_app(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "withheld")
    with running(tmp_path, f"{_APP}\nopen('withheld').read()") as service:
        assert eventually(lambda: len(service.imports()) == 1)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
    assert not psutil.pid_exists(service.imports()[0])


def test_a_loader_ends_with_its_supervisor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "withheld")
    with running(tmp_path, f"{_APP}\nopen('withheld').read()") as service:
        assert eventually(lambda: len(service.imports()) == 1)
        service.process.kill()
        assert eventually(lambda: not is_running(service.imports()[0]))


def is_running(pid: int) -> bool:
    """Return whether a process runs. One that nobody waits for does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_service_stops_cleanly_if_its_parent_ignores_sigchld(tmp_path: Path) -> None:
    with running(tmp_path, _APP, "--ignore-sigchld") as service:
        assert eventually(lambda: service.is_served(version="VERSION"))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0


def test_a_sandbox_that_forbids_subreapers_gets_ordinary_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(prctl=lambda *_: -1))
    assert not can_fork()
