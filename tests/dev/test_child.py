"""Child processes end on request and with their guardian, and their errors are explained."""

import signal
from pathlib import Path

import psutil
import pytest

from recipe_api.dev.child import Child, Program
from recipe_api.dev.errors import DevError
from recipe_api.dev.leftovers import end_leftovers

BOUND = 10.0  # seconds; it usually takes some milliseconds


def _program(folder: Path, script: str, *, grace: float = BOUND) -> Program:
    return Program(
        command=["sh", "-c", script],
        folder=folder,
        log=folder / "program.log",
        environment={},
        stop_signal=signal.SIGTERM,
        grace=grace,
    )


def _started(program: Program) -> tuple[Child, psutil.Process, psutil.Process]:
    """Return the child, its guardian and the program, once the program has printed a word."""
    child = Child(program)
    assert child.wait_until_ready(lambda: program.log.stat().st_size > 0, seconds=BOUND)
    (guardian,) = [each for each in psutil.Process().children() if each.cwd() == str(program.folder)]
    (process,) = guardian.children()
    return child, guardian, process


def test_the_stop_signal_ends_a_child(tmp_path: Path) -> None:
    child, guardian, process = _started(_program(tmp_path, "echo ready; exec sleep 600"))
    child.stop()
    assert not process.is_running()
    assert not guardian.is_running()


def test_a_child_that_ignores_the_stop_signal_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    child, _, process = _started(_program(tmp_path, "trap '' TERM; echo ready; exec sleep 600", grace=0.1))
    child.stop()
    assert not process.is_running()


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux notifies a process when its parent is killed")
def test_a_child_ends_when_its_guardian_is_killed(tmp_path: Path) -> None:
    child, guardian, process = _started(_program(tmp_path, "echo ready; exec sleep 600"))
    guardian.kill()
    process.wait(BOUND)
    child.stop()


def test_the_error_of_a_child_that_ended_quotes_its_last_output(tmp_path: Path) -> None:
    child = Child(_program(tmp_path, "echo disk full >&2; exit 3"))
    assert not child.wait_until_ready(lambda: False, seconds=BOUND)
    child.stop()
    assert str(child.start_error()) == f"program did not start: disk full; see {tmp_path / 'program.log'}"


def test_the_error_of_a_child_that_never_becomes_ready_names_its_log(tmp_path: Path) -> None:
    child, _, _ = _started(_program(tmp_path, "echo ready; exec sleep 600"))
    with pytest.raises(DevError, match=r"program is not ready after 0 s; see .*program\.log"):
        child.wait_until_ready(lambda: False, seconds=0)
    child.stop()


def test_a_leftover_process_is_recognized_by_its_name_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipe_api.dev.leftovers.BEFORE_KILL_SECONDS", 0.1)
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    children = []
    for folder in (here, elsewhere):
        folder.mkdir()
        children.append(_started(_program(folder, "trap '' TERM; echo ready; exec sleep 600", grace=0.1)))
    end_leftovers("weed", here)
    assert [process.is_running() for _, _, process in children] == [True, True]
    end_leftovers("sleep", here)
    assert [process.is_running() for _, _, process in children] == [False, True]
    for child, _, _ in children:
        child.stop()
