"""Sizes in words."""

import pytest

from recipe_api.units import duration_in_words, size_in_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1024, "1,024 bytes"),
        (10_000, "10 kB"),
        (100_000, "100 kB"),
        (102_400, "100 KiB"),
        (166_560, "166,560 bytes"),
        (5_000_000, "5 MB"),
        (64 * 1024**2, "64 MiB"),
        (80 * 1000 * 1024**2, "80000 MiB"),
        (64 * 1024**2 + 1, "67,108,865 bytes"),
    ],
)
def test_a_size_is_exact_and_in_the_largest_unit_that_divides_it(size: int, words: str) -> None:
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (120, "120 seconds"),
        (121, "3 minutes"),
        (7200, "120 minutes"),
        (7201, "3 hours"),
        (86_400, "24 hours"),
    ],
)
def test_a_duration_is_rounded_up(seconds: int, words: str) -> None:
    assert duration_in_words(seconds) == words
