"""Shows the progress of a command on a terminal."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from recipe_api import background

_SECONDS = 0.5
_CLEAR = "\r\x1b[K"


@asynccontextmanager
async def progress(line: Callable[[], str]) -> AsyncIterator[None]:
    """Keep a line up to date on standard error while the block runs, if that is a terminal.

    The cursor stays at the beginning of the line, so that other output replaces it.
    """
    if not sys.stderr.isatty():
        yield
        return
    try:
        async with background.running(_show(line), name="progress"):
            yield
    finally:
        print(_CLEAR, end="", file=sys.stderr, flush=True)


async def _show(line: Callable[[], str]) -> None:
    while True:
        print(f"{_CLEAR}{line()}\r", end="", file=sys.stderr, flush=True)
        await asyncio.sleep(_SECONDS)
