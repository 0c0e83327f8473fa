"""Lets one renderer run at a time on this machine, whichever process starts it.

Each renderer may use as much memory as its limit permits, and a dyno has room for one. The slot is a lock on a file
(flock), which all processes of this user share: workers, `recipe-api render`, other services. The child process
inherits the lock, so that it also holds after the process that started the child was killed, until the child has ended.

Waiting for the lock means polling, because a blocking flock cannot be cancelled. A second lock, which only the next
in line holds, keeps a process that renders one photo after another from taking the slot before others can.
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
"""Little beside what a rendering takes."""


def default_path() -> Path:
    """Return the path of the lock that all services of this user share."""
    return Path(tempfile.gettempdir()) / f"recipe_api-renderer-{os.getuid()}.lock"


class Slot:
    """The slot for a renderer, whose lock is at `path`. Waiting tasks of one process take it in turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = asyncio.Lock()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[int]:
        """Wait for the slot and hold it until the block ends; yield its file descriptor, for `render` (`lock`).

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
                os.close(descriptor)  # not LOCK_UN, which would take the lock from a child that still runs


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
