"""One owner for a data folder. The kernel drops the lock with its holder, so a crash leaves none behind."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recipe_api.dev.errors import DevError


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process.

    Raises:
        DevError: Another process holds it; the message names it.
    """
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            message = f"{folder} is in use by another run (process {holder}); end that one, or use another --data"
            raise DevError(message) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
