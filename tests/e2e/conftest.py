"""Every test here that uses a service runs with each HTTP protocol, because the contract is the same."""

import pytest

from tests.support.service import HTTP_PROTOCOLS


@pytest.fixture(params=[HTTP_PROTOCOLS[0], pytest.param(HTTP_PROTOCOLS[1], marks=pytest.mark.slow)])
def http_protocol(request: pytest.FixtureRequest) -> str:
    """Return each HTTP protocol."""
    protocol: str = request.param
    return protocol
