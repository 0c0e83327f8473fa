"""Against which client's limit a request counts."""

import pytest

from recipe_api.web.clients import holders


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("unknown:x", "unknown:y", False),
    ],
)
def test_addresses_of_one_ipv6_network_count_as_one_client(one: str, other: str, *, is_same: bool) -> None:
    first, second = (holders({"client": (host, 1234)}, token=None) for host in (one, other))

    assert (first == second) is is_same


def test_a_token_counts_in_addition_to_the_address() -> None:
    found = holders({"client": ("192.0.2.1", 1)}, token="front-end")

    assert found == ("address 192.0.2.1", "token front-end")
    assert holders({"client": None}, token=None) == ()
