"""Ctrl-C in the terminal of `recipe-api serve`, which sends SIGINT to all of its processes, once or several times."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from recipe_api.dev.stack import Stack
from recipe_api.server import GRACEFUL_SECONDS
from recipe_api.settings import PART_SIZE
from tests.conftest import SECRET_KEY
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.service import HOST
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

pytestmark = pytest.mark.slow

UPLOAD = request("/recipe", recipe_form(jpeg(PART_SIZE + 500_000)), HEADER)


@pytest.fixture
def environment(stack: Stack, database_url: str) -> dict[str, str]:
    return {
        **stack.environment(),
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "info",
        "RENDITIONS": "none",
    }


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def server(
    request: pytest.FixtureRequest, environment: Mapping[str, str], backstage: Backstage, tmp_path: Path
) -> Iterator[ServerProcess]:
    assert backstage.rows() == []
    with serving(environment, workers=request.param, port=free_port(), log=tmp_path / "log") as running:
        assert eventually(lambda: running.log.read_text().count("Application startup complete") == request.param)
        yield running


def press_ctrl_c(server: ServerProcess) -> None:
    os.killpg(server.process.pid, signal.SIGINT)


def test_a_second_ctrl_c_cancels_uploads_and_leaves_no_traceback_and_no_object(
    server: ServerProcess, backstage: Backstage
) -> None:
    with socket.create_connection((HOST, server.port), timeout=60) as opened:
        Wire(opened).send(UPLOAD[:-1000])
        assert eventually(lambda: len(backstage.multipart_uploads()) == 1)
        press_ctrl_c(server)
        assert eventually(lambda: "Waiting for connections to close" in server.log.read_text())
        press_ctrl_c(server)
        assert server.process.wait(GRACEFUL_SECONDS - 2) == 0
    log = server.log.read_text()
    assert "Traceback" not in log
    assert log.count("Application shutdown complete") == log.count("Application startup complete")
    assert eventually(backstage.nothing_is_left)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_during_the_imports_prints_no_traceback(
    environment: Mapping[str, str], workers: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recipe_api.cli", "serve", "--host", HOST],
            stdout=output,
            stderr=output,
            env={**os.environ, **environment, "PORT": str(free_port()), "WEB_CONCURRENCY": str(workers)},
            start_new_session=True,
        )
    try:
        assert eventually(lambda: _is_importing(process.pid, workers))
        _interrupt(process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in log.read_text()


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """Press Ctrl-C until the process ends: Python drops an interrupt that arrives in a destructor."""
    for _ in range(12):
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
    pytest.fail("the process did not end")


def _is_importing(pid: int, workers: int) -> bool:
    """Return whether the process that loads the app has begun its imports, which take half a second more."""
    process = psutil.Process(pid)
    loading = [process] if workers == 1 else process.children()
    return any("pydantic_core" in mapped.path for each in loading for mapped in each.memory_maps())
