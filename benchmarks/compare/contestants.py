"""The contestants: one process each, on the same store and the same PostgreSQL, in their best configuration.

None hashes a photo for its signature: the service does so neither over TLS nor on loopback, and the others are
configured not to.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from compare.database import no_migration
from compare.machine import revision
from compare.processes import KEPT_BY_MALLOC, BenchmarkError, plain_environment
from compare.rows import EXPRESS, NAIVE, OURS, Rows
from recipe_api.dev.migrations import migrate

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
    encodes_again: bool = False
    """Whether it encodes photos again, so that it may store far fewer bytes than it received."""
    migrate: Callable[[str], None] = no_migration
    """Prepares the database at a URL."""
    rows: Rows | None = None
    """How to fill its table, and where its last page is."""


def contestants(cache: Path, *, service: str, baseline: Path | None) -> dict[str, Contestant]:
    """Return all contestants by name, in the order of the table.

    Args:
        cache: The folder with what npm installed.
        service: The command that starts this service.
        baseline: A checkout of another release of the service, to compare with.
    """
    ours = _ours(service)
    express, naive = _express(cache), _naive()
    found = [
        ours,
        replace(
            ours,
            name="keep",
            title="recipe_api, metadata kept",
            environment={**ours.environment, "PHOTO_METADATA": "keep"},
        ),
        express,
        _removing(express, name="sharp", title="Express + sharp, which removes metadata"),
        naive,
        _removing(naive, name="pillow", title="UploadFile + Pillow, which removes metadata"),
        Contestant(
            name="discard",
            title="ASGI app that discards the body",
            command=(sys.executable, str(PEERS / "discard.py")),
            table=None,
            environment=KEPT_BY_MALLOC,
        ),
    ]
    if baseline:
        found.append(_release(ours, baseline.resolve()))
    return {contestant.name: contestant for contestant in found}


def _ours(service: str) -> Contestant:
    return Contestant(
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
        migrate=migrate,
        rows=OURS,
    )


def _release(ours: Contestant, checkout: Path) -> Contestant:
    """Return another release of the service.

    Raises:
        BenchmarkError: The checkout has no environment.
    """
    command = checkout / ".venv" / "bin" / "recipe-api"
    if not command.exists():
        raise BenchmarkError(f"{checkout} has no environment; run scripts/test there")
    return replace(
        ours,
        name="baseline",
        title=f"recipe_api at {revision(checkout)}",
        command=(str(command), "serve", "--host", "127.0.0.1"),
        migrate=partial(_migrate_release, checkout),
    )


def _migrate_release(checkout: Path, url: str) -> None:
    command = [checkout / ".venv" / "bin" / "alembic", "upgrade", "head"]
    environment = plain_environment() | {"DATABASE_URL": url}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise BenchmarkError(f"alembic failed in {checkout}: {done.stderr.decode()[-300:]}")


def _express(cache: Path) -> Contestant:
    return Contestant(
        name="express",
        title="Express + multer-s3 + pg",
        command=("node", str(cache / "express" / "server.js")),
        table="express_recipe",
        environment={"NODE_ENV": "production"},
        busy_environment={
            "NODE_OPTIONS": "--max-semi-space-size=64",  # MiB; fewer collections of young garbage
            **KEPT_BY_MALLOC,
        },
        rows=EXPRESS,
    )


def _naive() -> Contestant:
    return Contestant(
        name="naive",
        title="UploadFile + upload_fileobj + SQLModel",
        command=(sys.executable, str(PEERS / "naive.py")),
        table="naive_recipe",
        busy_environment=KEPT_BY_MALLOC,
        rows=NAIVE,
    )


def _removing(peer: Contestant, *, name: str, title: str) -> Contestant:
    """Return a variant of a peer that removes metadata, the way its users do."""
    environment = {**peer.environment, "REMOVE_METADATA": "1"}
    return replace(peer, name=name, title=title, environment=environment, encodes_again=True)


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
