"""What the tests of the connection pool share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_garbage_but_our_own() -> Iterator[None]:
    """Exclude existing objects from garbage collection, so that the collection after each test is fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
