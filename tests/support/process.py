"""The service as it runs in production: `recipe-api serve` in a process group of its own, which can be killed."""

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

from tests.support.service import HOST
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
        """Those that serve: the server itself, or its children where it has more than one."""
        server = psutil.Process(self.process.pid)
        children = [child for child in server.children() if _is_worker(child)]
        return children or [server]

    def kill(self) -> None:
        """SIGKILL to all of it at once, as a machine that goes off."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM to all of it at once, as a dyno gets it."""
        os.killpg(self.process.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Until it has ended; its exit code."""
        return self.process.wait(_STOP_SECONDS)

    def is_ready(self) -> bool:
        """Whether it answers, or soon does; False where it ended."""
        return eventually(lambda: self._answers() or self.process.poll() is not None, within=_READY_SECONDS) and (
            self.process.poll() is None
        )

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(environment: Mapping[str, str], *, workers: int, port: int, log: Path) -> Iterator[ServerProcess]:
    """A server that is ready; killed with the block if it has not ended before."""
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
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False
