"""The service as in production: `recipe-api serve` in its own process group, which can be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from recipe_api.photos.renditions.process import CHILD
from tests.support.service import HOST, NO_TLS
from tests.support.traces import eventually

_READY_SECONDS = 60
_STOP_SECONDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A server and its workers."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve: the server itself, or its workers if it has several."""
        server = psutil.Process(self.process.pid)
        children = [child for child in server.children() if _is_worker(child)]
        return children or [server]

    def kill(self) -> None:
        """Send SIGKILL to all processes at once, as when a machine goes down."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Send SIGTERM to all processes at once, as on a dyno."""
        os.killpg(self.process.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the server to end, and return its exit code."""
        return self.process.wait(_STOP_SECONDS)

    def is_ready(self) -> bool:
        """Wait until the server responds; return False if it ended instead."""
        return eventually(lambda: self._answers() or self.process.poll() is not None, within=_READY_SECONDS) and (
            self.process.poll() is None
        )

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False, verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(environment: Mapping[str, str], *, workers: int, port: int, log: Path) -> Iterator[ServerProcess]:
    """Run a server, wait until it is ready, and kill it with the block if it has not ended before."""
    variables = {**os.environ, **environment, "PORT": str(port), "WEB_CONCURRENCY": str(workers)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recipe_api.cli", "serve", "--host", HOST],
            stdout=output,
            stderr=output,
            env=variables,
            start_new_session=True,
        )
    server = ServerProcess(process=process, port=port, log=log)
    try:
        assert server.is_ready(), log.read_text()[-2000:]
        yield server
    finally:
        if process.poll() is None:
            server.kill()


def _is_worker(process: psutil.Process) -> bool:
    """Return whether a child of the server is neither a zombie, a renderer, nor multiprocessing's resource tracker."""
    try:
        command = process.cmdline()
        return bool(command) and CHILD not in command and "resource_tracker" not in str(command)
    except psutil.NoSuchProcess:
        return False
