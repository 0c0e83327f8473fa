"""A short run of what `scripts/crash-test` does at length."""

from pathlib import Path

import pytest

from tests.crash.trial import trial

KILLS = 5


@pytest.mark.timeout(300)  # seconds: some eight starts of a server
def test_no_kill_loses_a_photo_or_leaves_what_the_sweep_does_not_find(tmp_path: Path) -> None:
    with trial(tmp_path, seed=1) as made:
        result = made.run(KILLS, progress=lambda _: None)

    assert result.faults == []
    assert result.kills.total() == KILLS
    assert result.fetched > 0
    assert not result.second_sweep
