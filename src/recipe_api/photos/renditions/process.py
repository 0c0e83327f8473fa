"""Runs the child process that decodes a photo, and returns the renditions that it makes.

Decoders of images are large, are written in C, and are fed by strangers. So they run in a process that holds no secret
and can be killed; this process never imports them. The child starts with an empty environment, limits its own memory
and CPU time, and reads the photo from its standard input. Whatever happens to the child or to the caller, the child
has ended and was reaped when `render` returns.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterable
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from typing import cast

from recipe_api.photos.renditions.result import PhotoUnrenderable, Rendered, RendererFailed, Rendition, read_result
from recipe_api.units import MIB

__all__ = ["Job", "Limits", "PhotoUnrenderable", "Rendered", "RendererFailed", "Rendition", "render"]

_CHILD = "recipe_api.photos.renditions.child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to make of a photo."""

    content_type: str
    """The detected type, which decides which decoder runs. It has to be in `RENDERABLE`."""
    sizes: tuple[int, ...]
    """The sizes of the renditions, ascending (`offered`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one child process."""

    memory_bytes: int = 400 * MIB
    """Its address space."""
    cpu_seconds: int = 30
    wall_seconds: float = 60
    pixels: int = 100_000_000
    """The largest photo."""


async def render(photo: AsyncIterable[bytes], job: Job, *, limits: Limits, lock: int | None = None) -> Rendered:
    """Make the renditions of a photo.

    Args:
        photo: The bytes of the photo. Its errors are raised as they are.
        job: What to make.
        limits: What the child process may use.
        lock: The file descriptor of a lock that the child process is to inherit (`Slot.taken`).

    Raises:
        PhotoUnrenderable: The photo cannot be decoded, or exceeds a limit that is checked before.
        RendererFailed: The child process crashed, exceeded a limit or sent an invalid result.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-B",
        "-m",
        _CHILD,
        json.dumps(
            {
                "content_type": job.content_type,
                "sizes": job.sizes,
                "memory_bytes": limits.memory_bytes,
                "cpu_seconds": limits.cpu_seconds,
                "pixels": limits.pixels,
                "parent": os.getpid(),
            }
        ),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env={},
        pass_fds=() if lock is None else (lock,),
    )
    stdin, stdout = cast("asyncio.StreamWriter", child.stdin), cast("asyncio.StreamReader", child.stdout)  # pipes
    try:
        async with asyncio.timeout(limits.wall_seconds):
            feeding = asyncio.create_task(_feed(stdin, photo))
            reading = asyncio.create_task(read_result(stdout, job.sizes))
            try:
                await asyncio.wait({feeding, reading}, return_when=asyncio.FIRST_EXCEPTION)
                if feeding.done():
                    feeding.result()
                return await reading
            finally:
                feeding.cancel()
                reading.cancel()
                await asyncio.wait({feeding, reading})
    except TimeoutError as error:
        raise RendererFailed(f"The renderer did not finish within {limits.wall_seconds} s.") from error
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _feed(stdin: asyncio.StreamWriter, photo: AsyncIterable[bytes]) -> None:
    try:
        async for data in photo:
            stdin.write(data)
            await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        stdin.close()
