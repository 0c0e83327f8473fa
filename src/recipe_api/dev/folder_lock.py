"""Lets one process at a time use a data folder. The kernel releases the lock of a process that crashes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recipe_api.dev.errors import DevError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process.

    Raises:
        DevError: Another process has locked it; the message names the process.
    """
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            message = f"{folder} is in use by process {holder}; stop that process, or choose another folder with --data"
            raise DevError(message) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
