"""Runs `recipe-api` commands in this process, because a new one would spend a second on its imports."""

import io
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from recipe_api.cli import main
from recipe_api.observability import configure_logging


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def run_command(environment: Mapping[str, str], *arguments: str) -> Done:
    """Run a command with only this environment, in the main thread, where it may handle signals."""
    stdout, stderr = io.StringIO(), io.StringIO()
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            patch.setattr("os.environ", dict(environment))
            code = main(arguments)
    finally:
        configure_logging("info", human=False)  # the tests' own, which the command has replaced
    return Done(returncode=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())
