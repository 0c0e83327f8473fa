"""Every test here that uses a service runs with each HTTP protocol, because the contract is the same."""

from pathlib import Path

import pytest

from tests.support.service import HTTP_PROTOCOLS

_BEHIND_THE_PROTOCOL = {
    "test_forms.py",
    "test_idempotency.py",
    "test_photos.py",
    "test_renditions.py",
    "test_staged.py",
}
"""These tests begin after a protocol has parsed the request, so the second protocol would reveal little more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in _BEHIND_THE_PROTOCOL and item.path.parent == Path(__file__).parent:
            callspec = getattr(item, "callspec", None)
            if callspec and callspec.params.get("http_protocol") == HTTP_PROTOCOLS[1]:
                item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(params=[HTTP_PROTOCOLS[0], pytest.param(HTTP_PROTOCOLS[1], marks=pytest.mark.slow)])
def http_protocol(request: pytest.FixtureRequest) -> str:
    """Return each HTTP protocol."""
    protocol: str = request.param
    return protocol
