"""What the tests of the wire share."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import Authority


@pytest.fixture(autouse=True, scope="module")
def _no_garbage_but_our_own() -> Iterator[None]:
    """Collecting it after each test takes no time then."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("authority")
    return Authority(folder)
