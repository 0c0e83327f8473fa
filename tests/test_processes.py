"""Tests that are not marked `slow` cannot start processes."""

import asyncio
import multiprocessing
import subprocess
import sys

import pytest

from tests.support.processes import ProcessStarted

COMMAND = (sys.executable, "-c", "")


def test_a_test_that_is_not_slow_cannot_run_a_command() -> None:
    with pytest.raises(ProcessStarted, match="mark it `slow`"):
        subprocess.run(COMMAND, check=True)


async def test_neither_can_its_event_loop() -> None:
    with pytest.raises(ProcessStarted):
        await asyncio.create_subprocess_exec(*COMMAND)


def test_nor_can_it_fork_or_spawn_a_worker() -> None:
    with pytest.raises(ProcessStarted):
        multiprocessing.get_context("spawn").Process(target=print).start()


@pytest.mark.slow
def test_a_slow_test_can() -> None:
    subprocess.run(COMMAND, check=True)
