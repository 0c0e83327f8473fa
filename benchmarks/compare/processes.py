"""Child processes that end with the command that started them, however it ends, and their cost.

With `setpriv --pdeathsig`, the kernel ends a child whose parent has died, so that not even SIGKILL leaves one behind.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

READY_SECONDS = 30
STOP_SECONDS = 10
KEPT_BY_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
"""Environment variables with which a process keeps its memory instead of requesting it from the kernel for each
body."""
_POLL_SECONDS = 0.005


class BenchmarkError(Exception):
    """The benchmark cannot go on. One sentence says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that is ready."""

    pid: int
    seconds: float
    """From its start until it was ready."""


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    is_ready: Callable[[], bool],
    folder: Path | None = None,
) -> Iterator[Running]:
    """Run a server until the block ends; yield it once it is ready.

    Args:
        command: What to run.
        log: Takes its output; the end of it is quoted when the server does not start.
        environment: All of it, besides PATH and the like: nothing of ours (proxies, credentials) reaches it.
        is_ready: Asked until it says so.
        folder: Its working directory.

    Raises:
        BenchmarkError: It ended, or was not ready in time.
    """
    name = Path(command[0]).name
    began = time.perf_counter()
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - commands of ours
            guarded(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=plain_environment() | environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            if child.poll() is not None or time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise BenchmarkError(f"{name} does not start: {lines[-1] if lines else 'it said nothing'} ({log})")
            time.sleep(_POLL_SECONDS)
        yield Running(child.pid, time.perf_counter() - began)
    finally:
        _stop(child)


def guarded(command: Sequence[str | Path]) -> list[str]:
    """Return the command so that it ends with this process."""
    return ["setpriv", "--pdeathsig=TERM", *map(str, command)]


def plain_environment() -> dict[str, str]:
    """Return the variables that programs need to find other programs and temporary folders."""
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in names if name in os.environ}


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def responds(port: int, path: str) -> bool:
    """Return whether a server on this port responds to GET with 200."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("ascii"))
        return connection.recv(64).split(b" ")[1:2] == [b"200"]
    return False


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that the process tree has used."""
    root = psutil.Process(pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def forget_peak(pid: int) -> None:
    """Reset the kernel's record of the peak memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory(pid: int, *, peak: bool) -> int:
    """Return the resident bytes of the process tree, now or at the peak that the kernel recorded."""
    root = psutil.Process(pid)
    return sum(
        _status(process.pid, "VmHWM:" if peak else "VmRSS:") for process in (root, *root.children(recursive=True))
    )


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _stop(child: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
