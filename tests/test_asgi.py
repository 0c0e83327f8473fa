"""What the headers of a request announce."""

import pytest

from recipe_api.asgi import content_length


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"5", 5),
        (b" 5\t", 5),
        (b"0", 0),
        (b"0" * 5000 + b"5", 5),
        (b"", None),
        (b"-5", None),
        (b"+5", None),
        (b"5_0", None),
        (b"five", None),
        ("\u0665".encode(), None),
    ],
)
def test_a_length_is_what_its_digits_say(value: bytes, length: int | None) -> None:
    assert content_length([(b"host", b"x"), (b"content-length", value)]) == length


def test_without_its_header_there_is_none() -> None:
    assert content_length([(b"host", b"5")]) is None
