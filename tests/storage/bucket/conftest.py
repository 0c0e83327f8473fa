"""Amazon's APIs from moto, and SeaweedFS for tests of permissions."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from recipe_api.dev.stack import Stack
from tests.support.amazon import Amazon, amazon_running
from tests.support.bucket import without_waiting


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retry at once, and as often as in service."""
    with without_waiting():
        yield


@pytest.fixture(scope="session")
def _amazon() -> Iterator[Amazon]:
    with amazon_running() as running:
        yield running


@pytest.fixture
def amazon(_amazon: Amazon) -> Iterator[Amazon]:
    """A store with Amazon's bucket APIs and no deviations yet."""
    yield _amazon
    _amazon.odd.forget()


@pytest.fixture
def name() -> str:
    """An unused bucket name."""
    return f"photos-{secrets.token_hex(6)}"


@pytest.fixture
def seaweed(stack: Stack, name: str) -> dict[str, str]:
    """The settings of a SeaweedFS bucket that does not exist yet."""
    environment = {key: value for key, value in stack.environment().items() if key != "DATABASE_URL"}
    return {**environment, "S3_BUCKET": name, "S3_KEY_PREFIX": "public/"}


@pytest.fixture
def run_apart() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine in a test that is not `async`, in its own event loop."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner.run
