"""The contestants: one process each, on the same store and the same database, in their best configuration.

None hashes a photo for its signature: the service does so neither over TLS nor on loopback, and the others are
configured not to.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from compare.processes import KEPT_BY_MALLOC, BenchmarkError, answers, free_port, running

PEERS = Path(__file__).parent / "peers"
_INSTALL_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A server that accepts uploads."""

    name: str
    title: str
    command: tuple[str, ...]
    table: str | None
    """The table of its rows; None if it stores nothing."""
    environment: Mapping[str, str] = field(default_factory=dict)
    busy_environment: Mapping[str, str] = field(default_factory=dict)
    """Additional variables for loads in which many small requests matter more than memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running contestant."""

    contestant: Contestant
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def contestants(cache: Path, *, service: str) -> dict[str, Contestant]:
    """Return all contestants by name, in the order of the table.

    Args:
        cache: The folder with what npm installed.
        service: The command that starts this service.
    """
    ours = Contestant(
        name="service",
        title="recipe_api",
        command=(*shlex.split(service), "--host", "127.0.0.1"),
        table="recipe",
        environment={
            "SECRET_KEY": "benchmark-benchmark-benchmark-benchmark",
            "MAX_UPLOAD_BYTES": str(4 * 1024**3),
            "WEB_CONCURRENCY": "1",
            "RENDITIONS": "none",  # the others make none
        },
    )
    found = (
        ours,
        replace(
            ours,
            name="keep",
            title="recipe_api, metadata kept",
            environment={**ours.environment, "PHOTO_METADATA": "keep"},
        ),
        Contestant(
            name="express",
            title="Express + multer-s3 + pg",
            command=("node", str(cache / "express" / "server.js")),
            table="express_recipe",
            environment={"NODE_ENV": "production"},
            busy_environment={
                "NODE_OPTIONS": "--max-semi-space-size=64",  # MiB; fewer collections of young garbage
                **KEPT_BY_MALLOC,
            },
        ),
        Contestant(
            name="naive",
            title="UploadFile + upload_fileobj + SQLModel",
            command=(sys.executable, str(PEERS / "naive.py")),
            table="naive_recipe",
            busy_environment=KEPT_BY_MALLOC,
        ),
        Contestant(
            name="discard",
            title="ASGI app that discards the body",
            command=(sys.executable, str(PEERS / "discard.py")),
            table=None,
            environment=KEPT_BY_MALLOC,
        ),
    )
    return {contestant.name: contestant for contestant in found}


def install_express(cache: Path) -> None:
    """Fetch the packages of Express, at the versions of `package.json`, unless they are there.

    Raises:
        BenchmarkError: npm failed.
    """
    target = cache / "express"
    target.mkdir(parents=True, exist_ok=True)
    wanted = PEERS / "express" / "package.json"
    installed = target / "package.json"
    shutil.copy(PEERS / "express" / "server.js", target)
    if installed.exists() and installed.read_bytes() == wanted.read_bytes() and (target / "node_modules").is_dir():
        return
    shutil.copy(PEERS / "express" / ".npmrc", target)
    draft = shutil.copy(wanted, target)
    try:
        subprocess.run(
            ["npm", "install", "--omit=dev", "--no-audit", "--no-fund"],  # noqa: S607
            cwd=target,
            check=True,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        Path(draft).unlink()
        raise BenchmarkError(f"npm install failed in {target}: {(error.stderr or b'').decode()[-300:]}") from error


@contextmanager
def serving(contestant: Contestant, *, environment: Mapping[str, str], folder: Path, busy: bool) -> Iterator[Server]:
    """Run a contestant, in a new process for every measurement."""
    port = free_port()
    configured = {**contestant.environment, **(contestant.busy_environment if busy else {})}
    with running(
        contestant.command,
        log=folder / f"{contestant.name}.log",
        environment={**environment, **configured, "PORT": str(port)},
        is_ready=lambda: answers(port, "/readyz"),
        folder=folder,
    ) as pid:
        yield Server(contestant=contestant, port=port, pid=pid)
