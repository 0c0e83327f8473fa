"""Amazon's APIs by moto, and SeaweedFS where something is to be refused."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import stamina

from recipe_api.dev.stack import Stack
from tests.support.amazon import Amazon, amazon_running


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """What is tried again is tried at once."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture(scope="session")
def _amazon() -> Iterator[Amazon]:
    with amazon_running() as running:
        yield running


@pytest.fixture
def amazon(_amazon: Amazon) -> Iterator[Amazon]:
    """A store with Amazon's bucket APIs and, at first, no oddities."""
    yield _amazon
    _amazon.odd.forget()


@pytest.fixture
def name() -> str:
    """A bucket's name that nobody has yet."""
    return f"photos-{secrets.token_hex(6)}"


@pytest.fixture
def seaweed(stack: Stack, name: str) -> dict[str, str]:
    """The variables that lead to a bucket of SeaweedFS, which is not there yet."""
    environment = {key: value for key, value in stack.environment().items() if key != "DATABASE_URL"}
    return {**environment, "S3_BUCKET": name, "S3_KEY_PREFIX": "public/"}


@pytest.fixture
def run_apart() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs a coroutine in a test that is not `async`, in a loop that leaves the session's alone."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner.run
