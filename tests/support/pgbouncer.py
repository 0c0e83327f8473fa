"""PgBouncer (Debian's package, if installed) in transaction mode, in front of the tests' PostgreSQL.

Its pool is smaller than the service's, and its sessions take turns, so that a client's transactions run in changing
sessions.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from recipe_api.dev.child import Child, Program
from recipe_api.dev.unprivileged import unprivileged
from tests.support.ports import accepts, free_port
from tests.support.service import HOST

POOL_SIZE = 2

_CONFIGURATION = """\
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = {listen}
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {pool_size}
server_round_robin = 1
"""


def required_pgbouncer() -> str:
    """Return the program's path; skip the test if it is not installed."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    return found


@contextmanager
def pgbouncer(folder: Path, database_url: str) -> Iterator[str]:
    """Run PgBouncer in front of a PostgreSQL server, and yield the URI of the same database through it."""
    program, parts = required_pgbouncer(), urlsplit(database_url)
    port = free_port()
    users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{unquote(parts.username or "")}" "{unquote(parts.password or "")}"\n')
    configuration.write_text(
        _CONFIGURATION.format(
            host=parts.hostname,
            port=parts.port,
            listen=HOST,
            listen_port=port,
            users=users,
            pool_size=POOL_SIZE,
        )
    )
    child = Child(
        Program(
            command=unprivileged([program, str(configuration)], data=folder, parent_death_signal=signal.SIGTERM),
            folder=folder,
            log=folder / "pgbouncer.log",
            environment={},
            stop_signal=signal.SIGTERM,
            grace=5,
        )
    )
    try:
        assert child.wait_until_ready(partial(accepts, port), seconds=20), child.start_error()
        yield parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{HOST}:{port}").geturl()
    finally:
        child.stop()
