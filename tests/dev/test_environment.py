"""`scripts/environment` prepares `.venv` from the lock that a script needs, and only if necessary."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = """#!/bin/sh
# Stands in for uv, which not every machine has: notes what it is asked for, and fails where the test wants that.
echo "$*" >>"{calls}"
case "$*" in *{failing}*) echo "no index" >&2; exit 2 ;; esac
"""

Prepare = Callable[[str], list[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with nothing to install, so that real environments and a real pip need no network."""
    project = tmp_path / "project with spaces"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/environment", project / "scripts")
    for name in ("requirements-dev.txt", "requirements-test.txt", "pyproject.toml"):
        (project / name).write_text(f"# {name}\n")
    return project


@pytest.fixture
def prepare(project: Path, tmp_path: Path) -> Prepare:
    """Run `prepare PURPOSE`, and return the locks that uv should have installed."""
    calls = tmp_path / "calls"

    def run(purpose: str) -> list[str]:
        calls.write_text("")
        _run(project, purpose, tmp_path=tmp_path, failing="nothing")
        return [word for word in calls.read_text().split() if word.startswith("requirements-")]

    return run


def test_each_purpose_installs_its_own_lock_once(prepare: Prepare) -> None:
    assert prepare("dev") == ["requirements-dev.txt"]
    assert prepare("dev") == []


def test_an_environment_of_scripts_dev_is_extended_for_tests(project: Path, prepare: Prepare) -> None:
    prepare("dev")
    kept = project / ".venv/kept"
    kept.touch()
    assert prepare("test") == ["requirements-test.txt"]
    assert kept.exists()
    assert prepare("test") == []


def test_an_environment_for_tests_serves_scripts_dev(prepare: Prepare) -> None:
    prepare("test")
    assert prepare("dev") == []


@pytest.mark.parametrize("changed", ["requirements-dev.txt", "requirements-test.txt"])
def test_a_changed_lock_makes_a_new_environment(project: Path, prepare: Prepare, changed: str) -> None:
    prepare("test")
    leftover = project / ".venv/leftover"
    leftover.touch()
    (project / changed).write_text("# other pins\n")
    assert prepare("test") == ["requirements-test.txt"]
    assert not leftover.exists()


def test_an_interrupted_installation_starts_afresh(project: Path, prepare: Prepare) -> None:
    prepare("dev")
    (project / ".venv/unfinished").touch()
    assert prepare("dev") == ["requirements-dev.txt"]


def test_a_moved_project_gets_a_new_environment(project: Path, prepare: Prepare) -> None:
    prepare("dev")
    moved = project.with_name("moved")
    project.rename(moved)
    project.symlink_to(moved)
    assert prepare("dev") == ["requirements-dev.txt"]


def test_pip_installs_what_uv_cannot(project: Path, tmp_path: Path) -> None:
    output = _run(project, "dev", tmp_path=tmp_path, failing="requirements")
    assert "uv could not install it (no index); trying pip …" in output
    assert (project / ".venv/dev.stamp").exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock (util-linux) is missing")
def test_a_script_waits_while_another_one_prepares(project: Path, tmp_path: Path) -> None:
    with (project / "pyproject.toml").open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        second = _started(project, "dev", tmp_path=tmp_path, failing="nothing")
        assert second.stderr is not None
        assert "Waiting for another script" in second.stderr.readline()
        assert not (project / ".venv").exists()
    _, output = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert (project / ".venv/dev.stamp").exists()


def test_a_package_has_one_version_in_all_locks() -> None:
    dyno, dev, test = (_pins(f"requirements{name}.txt") for name in ("", "-dev", "-test"))
    assert dyno < dev < test


def _pins(lock: str) -> set[str]:
    return {line for line in (ROOT / lock).read_text().splitlines() if line[0] not in "#."}


def _run(project: Path, purpose: str, *, tmp_path: Path, failing: str) -> str:
    process = _started(project, purpose, tmp_path=tmp_path, failing=failing)
    _, output = process.communicate()
    assert process.returncode == 0, output
    return output


def _started(project: Path, purpose: str, *, tmp_path: Path, failing: str) -> subprocess.Popen[str]:
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "uv").write_text(UV.format(calls=tmp_path / "calls", failing=failing))
    (tools / "uv").chmod(0o755)
    return subprocess.Popen(
        ["/usr/bin/env", "bash", "-c", 'set -euo pipefail; source scripts/environment; prepare "$0"', purpose],
        cwd=project,
        env={**os.environ, "PATH": f"{tools}:/usr/bin:/bin", "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
