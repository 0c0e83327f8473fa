"""A machine-wide lock that lets one renderer run at a time, whichever process starts it.

Each renderer may use as much memory as its limit permits, and a dyno has memory for one. The slot is a file lock
(flock), which all processes of this user share: workers, `recipe-api render`, other services. The child process
inherits the lock. So if the process that started the child is killed, the lock is held until the child has ended.

Waiting for the lock means polling, because a blocking flock cannot be cancelled. A second lock, which only the next
in line holds, prevents a process that renders many photos in a row from starving the others.
"""

import asyncio
import fcntl
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_POLL_SECONDS = 0.05
"""Short compared with a rendering."""


def default_path() -> Path:
    """Return the path of the lock that all services of this user share."""
    return Path(tempfile.gettempdir()) / f"recipe_api-renderer-{os.getuid()}.lock"


class Slot:
    """The slot for a renderer, whose lock is the file at `path`. Waiting tasks of one process get it in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = asyncio.Lock()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[int]:
        """Wait for the slot and hold it until the block ends. Yield its file descriptor, the `lock` of `render`.

        Raises:
            OSError: The file cannot be opened, or belongs to another user.
        """
        async with self._here:
            queue = _opened(self._path.with_suffix(".queue"))
            try:
                await _locked(queue)
                descriptor = _opened(self._path)
                try:
                    await _locked(descriptor)
                except BaseException:
                    os.close(descriptor)
                    raise
            finally:
                os.close(queue)
            try:
                yield descriptor
            finally:
                os.close(descriptor)  # not LOCK_UN, which would also release the lock of a child that still runs


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        os.close(descriptor)
        raise PermissionError(f"{path} is not a file of this user; remove it.")
    return descriptor


async def _locked(descriptor: int) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return
