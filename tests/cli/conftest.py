"""The environment of commands that run in a process."""

import os

import pytest

from recipe_api.dev.stack import Stack

INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


@pytest.fixture
def environment(stack: Stack, database_url: str) -> dict[str, str]:
    """Return the environment of a command that uses the stack."""
    ours = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return ours | stack.environment() | {"DATABASE_URL": database_url, "SECRET_KEY": "x" * 40}
