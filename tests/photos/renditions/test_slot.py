"""One renderer at a time on a machine."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recipe_api.photos.renditions.slot import Slot, default_path

_HOLDER = """
import asyncio, pathlib, subprocess, sys
from recipe_api.photos.renditions.slot import Slot

async def hold():
    async with Slot(pathlib.Path(sys.argv[1])).taken() as lock:
        child = None
        if len(sys.argv) > 2:
            child = subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=(lock,), stdin=0, stdout=2)
        print("held", flush=True)
        await asyncio.sleep(3600)

asyncio.run(hold())
"""


@contextmanager
def held_by_another_process(path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _HOLDER, str(path), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            assert holder.stdout.readline() == b"held\n"
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "renderer.lock"


async def is_free(path: Path) -> bool:
    """Return whether the slot can be taken at once."""
    try:
        async with asyncio.timeout(0), Slot(path).taken():
            return True
    except TimeoutError:
        return False


async def freed(path: Path) -> bool:
    """Wait until the slot can be taken."""
    async with Slot(path).taken():
        return True


def open_files() -> set[Path]:
    """Return the file descriptors of this process."""
    return set(Path("/dev/fd").iterdir())


async def test_the_slot_is_free_again_after_the_block(path: Path) -> None:
    slot = Slot(path)
    async with slot.taken():
        assert not await is_free(path)
    async with slot.taken():
        assert not await is_free(path)
    assert await is_free(path)


async def test_a_failure_in_the_block_frees_the_slot(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Slot(path).taken():
            raise ZeroDivisionError
    assert await is_free(path)


async def test_the_tasks_of_a_process_take_the_slot_in_turn(path: Path) -> None:
    slot = Slot(path)
    order: list[int] = []

    async def take(number: int) -> None:
        async with slot.taken():
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(take(number) for number in range(4)))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3]


async def test_a_task_that_takes_the_slot_repeatedly_lets_others_in(path: Path) -> None:
    busy = Slot(path)
    async with busy.taken():
        other = asyncio.create_task(freed(path))
        await asyncio.sleep(0)  # now it is the next in line
    async with busy.taken():
        assert other.done()


@pytest.mark.parametrize("polls", range(3))
async def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing(path: Path, polls: int) -> None:
    async with Slot(path).taken():
        before = open_files()
        waiting = [asyncio.create_task(freed(path)) for _ in range(2)]
        for _ in range(polls):
            await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
        assert open_files() == before
    assert await is_free(path)


@pytest.mark.slow
async def test_another_process_that_holds_the_slot_keeps_it_until_it_ends(path: Path) -> None:
    with held_by_another_process(path) as holder:
        assert not await is_free(path)
        holder.kill()
        assert await freed(path)


@pytest.mark.slow
async def test_a_child_keeps_the_slot_after_its_parent_was_killed(path: Path) -> None:
    with held_by_another_process(path, "child") as holder:
        holder.kill()
        holder.wait()
        assert not await is_free(path)
        assert holder.stdin
        holder.stdin.close()  # ends the child
        assert await freed(path)


async def test_only_this_user_can_open_the_lock(path: Path) -> None:
    async with Slot(path).taken():
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


@pytest.fixture
def link(path: Path) -> Path:
    path.symlink_to(path.parent / "victim")
    return path


async def test_a_link_in_place_of_the_lock_is_not_followed(link: Path) -> None:
    with pytest.raises(OSError, match="symbolic link"):
        await freed(link)
    assert "victim" not in os.listdir(link.parent)  # noqa: PTH208 - pathlib is for synchronous code


@pytest.fixture
def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


async def test_a_pipe_in_place_of_the_lock_is_an_error(pipe: Path) -> None:
    with pytest.raises(PermissionError, match="remove it"):
        await freed(pipe)


@pytest.fixture
def file_of_another_user(path: Path) -> Path:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    path.touch()
    os.chown(path, 65534, 65534)
    return path


async def test_a_lock_of_another_user_is_an_error(file_of_another_user: Path) -> None:
    with pytest.raises(PermissionError, match="remove it"):
        await freed(file_of_another_user)


def test_the_users_of_a_machine_have_separate_locks() -> None:
    assert str(os.getuid()) in default_path().name
