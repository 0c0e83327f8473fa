"""Servers that an earlier run left behind: found by what they are, never by a remembered pid.

A leftover is a process of the given name whose working directory is the very data folder that we are about to use,
while we hold that folder's lock: so nobody owns it. A recycled pid cannot match, and PostgreSQL's own children, which
outlive a killed postmaster for a moment and still write, match as well.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from recipe_api.dev.errors import DevError, missing_extra

if TYPE_CHECKING:
    import psutil

_PATIENCE = 12.0  # seconds; a guardian that lost its owner is ending them at this moment, and takes up to 10
_AFTER_KILL = 5.0  # seconds


def end_leftovers(name: str, folder: Path) -> None:
    """Wait until no process `name` works in `folder` any more, and kill what stays.

    Both servers keep their data through SIGKILL.

    Raises:
        DevError: One does not end, such as one of another user.
    """
    try:
        import psutil  # noqa: PLC0415 - of the dev extra
    except ModuleNotFoundError:
        raise missing_extra("psutil") from None
    found = [process for process in psutil.process_iter() if _works_in(process, name, folder)]
    _, alive = psutil.wait_procs(found, timeout=_PATIENCE)
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
        raise DevError(f"{name} of an earlier run still works in {folder} and does not end; end process {pids}")


def _works_in(process: "psutil.Process", name: str, folder: Path) -> bool:
    import psutil  # noqa: PLC0415 - of the dev extra

    try:
        return process.name() == name and Path(process.cwd()) == folder
    except psutil.Error:  # it ended, or is another user's
        return False
