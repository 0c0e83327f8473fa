"""The benchmarks that are quick to try still run; nothing else uses them between two releases."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(*arguments: str) -> str:
    """Return the output of a benchmark."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=BENCHMARKS.parent, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_comparison_explains_itself() -> None:
    assert "--baseline" in run(str(BENCHMARKS / "compare"), "--help")


def test_the_sweep_finds_what_the_simulated_bucket_lacks() -> None:
    assert '"orphans": 4' in run(str(BENCHMARKS / "sweep.py"), "12000")
