"""The client's address if every proxy is trusted."""

from collections.abc import Callable

import pytest

from tests.support.log import lines_logged
from tests.support.service import HOST, Service


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        (["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["198.51.100.9, 192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        ([], HOST),
    ],
)
def test_a_client_cannot_choose_its_address_if_every_proxy_is_trusted(
    start_service: Callable[..., Service], forwarded: list[str], address: str
) -> None:
    service = start_service(FORWARDED_ALLOW_IPS="*")
    with lines_logged() as log, service.client() as client:
        client.get("/healthz", headers=[("X-Forwarded-For", value) for value in forwarded])
        (line,) = log.requests()

    assert line["client_address"] == address
