"""Stops servers that an earlier run has left behind.

A leftover is a process of the given name whose working directory is the data folder that this process has locked, so
that no other run can own it. No pid is stored, so a reused pid cannot match. PostgreSQL's own children match as well,
which outlive a killed postmaster for a moment and still write.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from recipe_api.dev.errors import DevError, missing_extra

if TYPE_CHECKING:
    import psutil

BEFORE_KILL_SECONDS = 12.0
"""A guardian may be stopping them at this moment, which takes up to 10 seconds."""
_AFTER_KILL = 5.0  # seconds


def end_leftovers(name: str, folder: Path) -> None:
    """Wait until no process `name` runs in `folder`, and kill those that remain.

    Neither server loses data to SIGKILL.

    Raises:
        DevError: A process does not exit, for example because it belongs to another user.
    """
    try:
        import psutil  # noqa: PLC0415 - of the dev extra
    except ModuleNotFoundError:
        raise missing_extra("psutil") from None
    found = [process for process in psutil.process_iter() if _runs_in(process, name, folder)]
    _, alive = psutil.wait_procs(found, timeout=BEFORE_KILL_SECONDS)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            break
    _, alive = psutil.wait_procs(alive, timeout=_AFTER_KILL)
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise DevError(f"{name} of an earlier run still runs in {folder} and cannot be stopped; kill process {pids}")


def _runs_in(process: "psutil.Process", name: str, folder: Path) -> bool:
    import psutil  # noqa: PLC0415 - of the dev extra

    try:
        return process.name() == name and Path(process.cwd()) == folder
    except psutil.Error:  # it has exited, or belongs to another user
        return False
