"""HTTPS behind a proxy: tokens, HSTS and redirects; and the client's address in the log."""

from collections.abc import Callable, Mapping
from uuid import UUID

import httpx
import pytest

from tests.support.calls import uploaded
from tests.support.log import lines_logged
from tests.support.problems import assert_problem
from tests.support.service import API_TOKEN, Service

Start = Callable[..., Service]
REMOTE = {"X-Forwarded-For": "1.1.1.1"}
HTTPS = REMOTE | {"X-Forwarded-Proto": "https"}
HTTP = REMOTE | {"X-Forwarded-Proto": "http"}


def get(service: Service, path: str, headers: Mapping[str, str], *, token: str | None = None) -> httpx.Response:
    with service.client(token) as client:
        return client.get(path, headers=headers)


class TestATokenOverPlainHttp:
    @pytest.mark.parametrize("headers", [REMOTE, HTTP], ids=["no scheme", "http"])
    def test_is_rejected_from_another_machine(self, start_service: Start, headers: dict[str, str]) -> None:
        service = start_service(API_TOKENS=f"tests:{API_TOKEN}")

        problem = assert_problem(get(service, "/recipe", headers, token=API_TOKEN), 403, "https-required")

        assert API_TOKEN not in str(problem)

    def test_is_rejected_before_it_manages_a_recipe(self, service: Service) -> None:
        recipe = uploaded(service)
        with service.client(recipe["manage_token"]) as client:
            assert_problem(client.delete(f"/recipe/{recipe['id']}", headers=HTTP), 403, "https-required")
            assert client.delete(f"/recipe/{recipe['id']}", headers=HTTPS).status_code == 204

    @pytest.mark.parametrize("headers", [{}, HTTPS, {"X-Forwarded-For": "::1"}], ids=["direct", "https", "loopback"])
    def test_is_accepted_from_this_machine_or_over_https(self, start_service: Start, headers: dict[str, str]) -> None:
        service = start_service(API_TOKENS=f"tests:{API_TOKEN}")

        assert get(service, "/recipe", headers, token=API_TOKEN).status_code == 200

    def test_is_accepted_if_the_setting_allows_it(self, start_service: Start) -> None:
        service = start_service(API_TOKENS=f"tests:{API_TOKEN}", ALLOW_INSECURE_TOKENS="true")

        assert get(service, "/recipe", HTTP, token=API_TOKEN).status_code == 200

    def test_is_rejected_although_an_untrusted_client_claims_https(self, start_service: Start) -> None:
        """The proxy at 192.0.2.1 is trusted, so the headers of this connection are not."""
        service = start_service(API_TOKENS=f"tests:{API_TOKEN}", FORWARDED_ALLOW_IPS="192.0.2.1")
        with lines_logged() as lines:
            assert get(service, "/recipe", HTTPS, token=API_TOKEN).status_code == 200  # from loopback, over plain HTTP
            (line,) = lines.requests()

        assert line["client_address"] == "127.0.0.1"

    @pytest.mark.parametrize("path", ["/recipe", "/healthz"])
    def test_requests_without_a_token_are_not_affected(self, service: Service, path: str) -> None:
        assert get(service, path, HTTP).status_code == 200


class TestStrictTransportSecurity:
    @pytest.mark.parametrize("path", ["/", "/docs", "/recipe", "/static/page.js", "/nowhere", f"/recipe/{UUID(int=1)}"])
    def test_is_on_every_response_over_https(self, service: Service, path: str) -> None:
        assert get(service, path, HTTPS).headers["Strict-Transport-Security"] == "max-age=31536000"

    @pytest.mark.parametrize("headers", [{}, HTTP], ids=["direct", "proxied"])
    def test_is_on_no_response_over_plain_http(self, service: Service, headers: dict[str, str]) -> None:
        assert "Strict-Transport-Security" not in get(service, "/", headers).headers


class TestAPage:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("target", ["/", "/docs", "/?from=mail"])
    def test_is_redirected_to_https_if_a_proxy_reports_http(self, service: Service, method: str, target: str) -> None:
        with service.client() as client:
            answer = client.request(method, target, headers=HTTP | {"Host": "recipes.test:80"})

        assert answer.status_code == 307
        assert answer.headers["Location"] == f"https://recipes.test{target}"
        assert answer.headers["Cache-Control"] == "no-store"

    def test_is_redirected_below_the_root_path(self, start_service: Start) -> None:
        answer = get(start_service(ROOT_PATH="/api"), "/docs", HTTP | {"Host": "recipes.test"})

        assert answer.headers["Location"] == "https://recipes.test/api/docs"

    def test_is_not_redirected_if_the_setting_allows_plain_http(self, start_service: Start) -> None:
        assert get(start_service(ALLOW_INSECURE_TOKENS="true"), "/", HTTP).status_code == 200

    def test_is_not_redirected_for_a_client_on_this_machine(self, service: Service) -> None:
        assert get(service, "/", HTTP | {"X-Forwarded-For": "127.0.0.1"}).status_code == 200

    @pytest.mark.parametrize(
        ("path", "headers"),
        [("/", {}), ("/", HTTPS), ("/recipe", HTTP), ("/healthz", HTTP), ("/readyz", HTTP), ("/static/page.js", HTTP)],
    )
    def test_nothing_else_is_redirected(self, service: Service, path: str, headers: dict[str, str]) -> None:
        assert get(service, path, headers).status_code == 200

    def test_is_isolated_from_other_sites(self, service: Service) -> None:
        for path in ("/", "/docs"):
            assert get(service, path, {}).headers["Cross-Origin-Opener-Policy"] == "same-origin"
        for path in ("/", "/docs", "/recipe", "/static/page.js"):
            assert get(service, path, {}).headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [(None, "127.0.0.1"), ("1.1.1.1", "1.1.1.1"), ("9.9.9.9, 2606:4700::1", "2606:4700::1")],
    ids=["direct", "proxied", "claimed by the client"],
)
def test_the_log_shows_the_clients_address(service: Service, forwarded: str | None, address: str) -> None:
    with lines_logged() as lines:
        get(service, "/recipe", {"X-Forwarded-For": forwarded} if forwarded else {})
        (line,) = lines.requests()

    assert line["client_address"] == address
