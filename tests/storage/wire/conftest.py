"""What the tests of the wire share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_garbage_but_our_own() -> Iterator[None]:
    """Collecting it after each test takes no time then."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
