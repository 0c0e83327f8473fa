"""Times and ages as arguments of commands."""

from datetime import UTC, datetime, timedelta

import pytest

from recipe_api.cli.times import duration, moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("0s", 0), ("30s", 30), ("90m", 5400), ("24h", 86400), ("7d", 604_800)]
)
def test_an_age_is_parsed_by_its_unit(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T07:30", datetime(2026, 11, 22, 7, 30, tzinfo=UTC)),
        ("2026-11-22T07:30:01+02:00", datetime(2026, 11, 22, 5, 30, 1, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, expected: datetime) -> None:
    assert moment(text) == expected


def test_a_time_may_be_given_as_an_age() -> None:
    before = datetime.now(UTC)

    found = moment("7d")

    assert before - timedelta(days=7) <= found <= datetime.now(UTC) - timedelta(days=7)
