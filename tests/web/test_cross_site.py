"""Forms that the page of another site sends to a service without API tokens."""

from collections.abc import Callable

import httpx
import pytest

from tests.support.calls import post
from tests.support.problems import assert_problem
from tests.support.service import API_TOKEN, Service
from tests.support.traces import Backstage

Start = Callable[..., Service]
OTHER_SITE = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.test"}


def upload(service: Service, headers: dict[str, str], *, token: str | None = None) -> httpx.Response:
    with service.client(token) as client:
        return post(client, headers=headers)


@pytest.mark.parametrize(
    "address", [None, "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "192.168.1.5", "fd00::5"]
)
def test_are_rejected_on_this_machine_and_on_private_networks(
    service: Service, backstage: Backstage, address: str | None
) -> None:
    forwarded = {"X-Forwarded-For": address} if address else {}

    problem = assert_problem(upload(service, OTHER_SITE | forwarded), 403, "cross-site-form")

    assert "REFUSE_CROSS_SITE_FORMS" in problem["detail"]
    assert backstage.nothing_is_left()


@pytest.mark.parametrize("origin", ["null", "https://other.test", None])
def test_are_rejected_whatever_their_origin_claims(service: Service, origin: str | None) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"} | ({"Origin": origin} if origin else {})

    assert_problem(upload(service, headers), 403, "cross-site-form")


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_are_accepted_from_the_internet_unless_the_setting_is_always(start_service: Start, address: str) -> None:
    headers = OTHER_SITE | {"X-Forwarded-For": address}

    assert upload(start_service(), headers).status_code == 201
    assert_problem(upload(start_service(REFUSE_CROSS_SITE_FORMS="always"), headers), 403, "cross-site-form")


def test_are_accepted_if_the_setting_is_never(start_service: Start) -> None:
    assert upload(start_service(REFUSE_CROSS_SITE_FORMS="never"), OTHER_SITE).status_code == 201


@pytest.mark.parametrize("origins", ["https://other.test", "*", "https://a.test, https://*.other.test"])
def test_are_accepted_from_origins_in_cors_origins(start_service: Start, origins: str) -> None:
    origin = "https://app.other.test" if "*." in origins else "https://other.test"
    service = start_service(CORS_ORIGINS=origins, REFUSE_CROSS_SITE_FORMS="always")

    assert upload(service, OTHER_SITE | {"Origin": origin}).status_code == 201


def test_are_rejected_from_other_origins(start_service: Start) -> None:
    service = start_service(CORS_ORIGINS="https://app.test, https://*.app.test")

    assert_problem(upload(service, OTHER_SITE), 403, "cross-site-form")


@pytest.mark.parametrize("site", [None, "same-origin", "same-site", "none"])
def test_do_not_include_those_of_the_services_page_or_other_clients(service: Service, site: str | None) -> None:
    assert upload(service, {"Sec-Fetch-Site": site} if site else {}).status_code == 201


def test_are_accepted_with_an_api_token(start_service: Start) -> None:
    service = start_service(API_TOKENS=f"tests:{API_TOKEN}", REFUSE_CROSS_SITE_FORMS="always")

    assert_problem(upload(service, OTHER_SITE), 401, "token-wanted")
    assert upload(service, OTHER_SITE, token=API_TOKEN).status_code == 201
