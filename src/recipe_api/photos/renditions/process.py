"""Runs the child process that decodes a photo, and returns the renditions that it makes.

Image decoders are large C libraries that parse untrusted input. So they run in a process that holds no secrets and may
be killed, and this process never imports them. The child starts with an empty environment and limits its own memory and
CPU time (`child.confinement`). The photo is streamed to its standard input, and its result is validated (`result`).

Whatever happens to the child, the photo or the caller, the child has ended when `render` returns or raises. If this
process is killed, the kernel kills the child.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import suppress
from dataclasses import dataclass
from subprocess import PIPE
from typing import Any, cast

from recipe_api.photos.renditions.result import (
    PhotoUnrenderable,
    Rendered,
    RendererFailed,
    Rendition,
    legible,
    read_result,
)
from recipe_api.units import MIB

__all__ = ["Job", "Limits", "PhotoUnrenderable", "Rendered", "RendererFailed", "Rendition", "command", "render"]

_SIGNALS = {each.value: each.name for each in signal.Signals}
CHILD = "recipe_api.photos.renditions.child"
_EXIT_SECONDS = 2.0
"""How long to wait for the exit code of a child that has closed its output."""
_END_SECONDS = 5.0
"""How long to wait for a child that was killed."""
_LOG_BYTES = 2048
"""How much of the end of the child's standard error to keep; the end names the exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A photo's type and the renditions to make."""

    content_type: str
    """The detected type, which decides which decoder runs. It has to be in `RENDERABLE`."""
    sizes: tuple[int, ...]
    """The sizes of the renditions, ascending (`offered`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one child process."""

    memory_bytes: int = 400 * MIB
    """Its address space. Photos that need more are not rendered: a PNG of more than 80 megapixels, for example."""
    cpu_seconds: int = 30
    """Several times what the largest photo within the memory limit takes."""
    wall_seconds: float = 60
    """Includes reading the photo from the store, and waiting for CPU time on a busy server."""
    pixels: int = 220_000_000
    """The largest photo. The largest phone sensors have 200 megapixels."""


async def render(photo: AsyncIterable[bytes], job: Job, *, limits: Limits, lock: int | None = None) -> Rendered:
    """Make the renditions of a photo.

    Args:
        photo: The bytes of the photo, which are read only as far as the child needs them. Its errors are raised
            unchanged, and if it is a generator, it is closed.
        job: What to make.
        limits: The limits of the child process.
        lock: The file descriptor of a lock that the child process inherits (`Slot.taken`).

    Raises:
        PhotoUnrenderable: The photo cannot be decoded, or exceeds a limit that is checked before decoding.
        RendererFailed: The child process crashed, exceeded a limit or sent an invalid result.
        TimeoutError: The photo did not arrive within the wall-clock limit.
        OSError: The child process cannot be started, for a reason that is unrelated to the photo.
    """
    child = await _start(job, limits=limits, lock=lock)
    feed = _Feed(photo, cast("asyncio.StreamWriter", child.stdin))
    feeding = asyncio.create_task(feed.run())
    reading = asyncio.create_task(read_result(cast("asyncio.StreamReader", child.stdout), job.sizes))
    log = asyncio.create_task(_end_of(cast("asyncio.StreamReader", child.stderr)))
    deadline = asyncio.timeout(limits.wall_seconds)
    try:
        async with deadline:
            return await _result(feeding, reading)
    except RendererFailed as error:
        raise RendererFailed(f"{error} {await _fate(child, log)}") from error
    except TimeoutError as error:
        if feed.is_waiting or not deadline.expired():  # caused or raised by the source of the photo
            raise
        raise RendererFailed(f"The renderer took longer than {limits.wall_seconds} s.") from error
    finally:
        await _end(child, feeding, reading, log)


def command(job: Job, *, limits: Limits) -> list[str]:
    """Return the command line of the child process, which has to be started by this process."""
    argument = {
        "content_type": job.content_type,
        "sizes": job.sizes,
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": limits.cpu_seconds,
        "pixels": limits.pixels,
        "parent": os.getpid(),
    }
    return [sys.executable, "-I", "-B", "-m", CHILD, json.dumps(argument)]


async def _start(job: Job, *, limits: Limits, lock: int | None) -> Process:
    return await asyncio.create_subprocess_exec(
        *command(job, limits=limits),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={},
        cwd="/",
        pass_fds=() if lock is None else (lock,),
    )


class _Feed:
    """Writes a photo to the child until the child stops reading."""

    def __init__(self, photo: AsyncIterable[bytes], stdin: asyncio.StreamWriter) -> None:
        self._photo = photo
        self._stdin = stdin
        self.is_waiting = True
        """Whether the child is waiting for the photo, rather than the photo for the child."""

    async def run(self) -> None:
        try:
            async for data in self._photo:
                self.is_waiting = False
                try:
                    self._stdin.write(data)
                    await self._stdin.drain()
                except (BrokenPipeError, ConnectionResetError):
                    return  # it has read what it needs, or has ended
                self.is_waiting = True
            self.is_waiting = False
            self._stdin.close()
        finally:
            if isinstance(self._photo, AsyncGenerator):
                await self._photo.aclose()


async def _result(feeding: asyncio.Task[None], reading: asyncio.Task[Rendered]) -> Rendered:
    """Return the result, or raise the error of the photo if it occurs first."""
    await asyncio.wait({feeding, reading}, return_when=asyncio.FIRST_COMPLETED)
    if not reading.done():
        await feeding
    return await reading


async def _end_of(stderr: asyncio.StreamReader) -> str:
    """Return the last line of standard error."""
    end = b""
    while data := await stderr.read(_LOG_BYTES):
        end = (end + data)[-_LOG_BYTES:]
    return (end.decode(errors="replace").strip().splitlines() or [""])[-1]


async def _fate(child: Process, log: asyncio.Task[str]) -> str:
    """Return a sentence that describes how the child ended."""
    error = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_SECONDS):
            await child.wait()
            error = await log
    code = child.returncode
    if code is None:
        return "The renderer was still running."
    if code < 0:
        return f"The renderer was killed by {_SIGNALS.get(-code, -code)}."
    return f"The renderer exited with code {code}: {legible(error)}"


async def _end(child: Process, *tasks: asyncio.Task[Any]) -> None:
    """End the child and the tasks that communicate with it."""
    if child.returncode is None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child.pid, signal.SIGKILL)  # child.kill() might reap it, which asyncio then logs as a surprise
    for task in tasks:
        task.cancel()
    cast("asyncio.StreamWriter", child.stdin).close()
    await asyncio.gather(*tasks, return_exceptions=True)  # any error that matters has been raised already
    try:
        async with asyncio.timeout(_END_SECONDS):
            for output in (child.stdout, child.stderr):  # asyncio leaves a pipe open that was not read to its end
                while await cast("asyncio.StreamReader", output).read(MIB):
                    pass
            await child.wait()
    except TimeoutError as error:
        raise RendererFailed(f"The renderer did not end within {_END_SECONDS} s of SIGKILL.") from error
