"""A contestant's process, on a store and a database."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compare.contestants import Contestant
from compare.database import Database
from compare.limits import Limits
from compare.processes import free_port, responds, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running contestant."""

    contestant: Contestant
    database: Database
    port: int
    pid: int
    ready_seconds: float
    """The time from its start until it was ready, as the load defines it."""
    limits: Limits | None
    """The limits that it runs in, if any."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def is_listening(port: int) -> bool:
    """Return whether the contestant at this port says that it is ready."""
    return responds(port, "/readyz")


@contextmanager
def serving(
    contestant: Contestant,
    *,
    database: Database,
    environment: Mapping[str, str],
    folder: Path,
    is_ready: Callable[[int], bool],
    limits: Limits | None,
) -> Iterator[Server]:
    """Run a contestant, in a new process for every measurement.

    Args:
        contestant: The contestant.
        database: Its database.
        environment: Environment variables that are added to its own, or override them.
        folder: Its working directory.
        is_ready: Whether the contestant at a port is ready.
        limits: The limits to run it in, if any.
    """
    port = free_port()
    with running(
        limits.around(contestant.command) if limits else contestant.command,
        log=folder / f"{contestant.name}.log",
        environment={**contestant.environment, **environment, "DATABASE_URL": database.url, "PORT": str(port)},
        is_ready=lambda: is_ready(port),
        folder=folder,
    ) as process:
        yield Server(
            contestant=contestant,
            database=database,
            port=port,
            pid=process.pid,
            ready_seconds=process.seconds,
            limits=limits,
        )
