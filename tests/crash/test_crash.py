"""A short run of `scripts/crash-test`."""

from pathlib import Path

import pytest

from tests.crash.trial import trial

SEVERAL = 3
"""So many kills that one interrupts a tus upload."""


@pytest.mark.timeout(300)  # seconds: about six starts of a server
@pytest.mark.parametrize("kills", [1, pytest.param(SEVERAL, marks=pytest.mark.exhaustive)])
def test_no_kill_loses_a_photo_or_leaves_something_that_the_sweep_does_not_find(tmp_path: Path, kills: int) -> None:
    with trial(tmp_path, seed=1) as made:
        result = made.run(kills, progress=lambda _: None)

    assert result.faults == []
    assert result.kills.total() == kills
    assert result.fetched > 0
    assert not result.second_sweep
    assert result.renditions > 0
    assert result.record.resumed > 0 or kills < SEVERAL
