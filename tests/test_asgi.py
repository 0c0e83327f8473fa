"""Looking up the headers of a request, and the length of its body."""

import pytest

from recipe_api.asgi import RequestHeaders, headers_of


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
def test_only_digits_are_a_content_length(value: bytes, length: int | None) -> None:
    assert RequestHeaders([(b"host", b"x"), (b"content-length", value)]).content_length() == length


def test_without_the_header_the_length_is_none() -> None:
    assert RequestHeaders([(b"host", b"5")]).content_length() is None


def test_headers_of_the_same_name_keep_their_order() -> None:
    headers = RequestHeaders([(b"accept", b"a"), (b"host", b"x"), (b"accept", b"b")])
    assert headers.values(b"accept") == [b"a", b"b"]
    assert headers.values(b"cookie") == []


def test_headers_that_a_layer_has_replaced_are_indexed_again() -> None:
    scope = {"headers": [(b"host", b"first")]}
    assert headers_of(scope).value(b"host") == b"first"
    assert headers_of(scope | {"headers": [(b"host", b"second")]}).value(b"host") == b"second"
