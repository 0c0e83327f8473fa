"""Kills the renderer, and the process that runs it, at random moments."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from recipe_api.photos.renditions.process import Rendered
from recipe_api.photos.renditions.slot import Slot
from tests.photos.renditions.streams import rendered, renderers
from tests.support.samples import SAMPLES, sample

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("killing.py")
CHILD = "recipe_api.photos.renditions.child"
ROOT = Path(__file__).parents[3]
LONGEST = 0.2
"""About how many seconds a rendering takes."""


def moments(count: int, *, of_them_often: int) -> list[object]:
    """Return random moments of a rendering, the same ones each time; most are for scripts/test --all."""
    chosen = [random.Random(number).uniform(0, LONGEST) for number in range(count)]  # noqa: S311 - not a secret
    return [
        pytest.param(moment, marks=() if number < of_them_often else pytest.mark.exhaustive, id=f"{moment:.4f}")
        for number, moment in enumerate(chosen)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for temporary files, of which nothing but the locks is left."""
    yield tmp_path
    assert {file.name for file in tmp_path.iterdir()} == {"renderer.lock", "renderer.queue"}


def renderers_of(parent: int) -> list[psutil.Process]:
    """Return the renderers that this process has started, whatever their parent process is now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):  # it has ended
            if CHILD in process.cmdline() and f'"parent": {parent}}}' in process.cmdline()[-1]:
                found.append(process)
    return found


@pytest.mark.parametrize("moment", moments(30, of_them_often=6))
async def test_a_renderer_that_is_killed_is_a_failure_unless_it_has_finished(moment: float) -> None:
    rendering = asyncio.create_task(rendered(sample("hopper.jpg"), "image/jpeg"))
    await asyncio.wait({rendering}, timeout=moment)
    for child in renderers():
        child.kill()
    (result,) = await asyncio.gather(rendering, return_exceptions=True)
    assert isinstance(result, Rendered) or "SIGKILL" in str(result)
    assert renderers() == []


@pytest.mark.parametrize("moment", moments(15, of_them_often=4))
def test_a_renderer_ends_with_its_parent(folder: Path, moment: float) -> None:
    lock = folder / "renderer.lock"
    command = [sys.executable, str(SCRIPT), str(lock), str(SAMPLES / "hopper.jpg")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout
        assert server.stdout.readline() == b"rendered\n"
        with suppress(subprocess.TimeoutExpired):
            server.wait(moment)
        server.kill()
    assert asyncio.run(renderers_once_free(lock, server.pid)) == []


async def renderers_once_free(lock: Path, parent: int) -> list[psutil.Process]:
    """Wait for the slot, and return those of the renderers of a process that still run."""
    async with Slot(lock).taken():
        return renderers_of(parent)


def test_a_renderer_that_is_left_would_be_found() -> None:
    async def found() -> list[psutil.Process]:
        rendering = asyncio.create_task(rendered(sample("hopper.jpg"), "image/jpeg"))
        while not rendering.done() and not renderers():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
        found = renderers_of(os.getpid())
        await rendering
        return found

    assert len(asyncio.run(found())) == 1
