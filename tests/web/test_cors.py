"""Which origins may call the API: wildcards, and how a preflight request is rejected."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.support.service import Service

PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}


@pytest.fixture
def frontend(start_service: Callable[..., Service]) -> Iterator[httpx.Client]:
    service = start_service(CORS_ORIGINS="https://*.example.com, https://app-*.preview.test:8443, https://one.test")
    with service.client() as client:
        yield client


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "https://a.b-2.example.com",
        "https://app-17.preview.test:8443",
        "https://one.test",
    ],
)
def test_an_origin_that_matches_is_allowed(frontend: httpx.Client, origin: str) -> None:
    preflight = frontend.options("/recipe", headers={"Origin": origin, **PREFLIGHT})
    listed = frontend.get("/recipe", headers={"Origin": origin})

    assert preflight.status_code == 200
    for response in (preflight, listed):
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.test",
        "https://evil.test/.example.com",
        "https://app@evil.example.com",
        "https://appXexample.com",
        "https://app-.preview.test:8443",
        "https://app-17.preview.test",
        "null",
    ],
)
def test_an_origin_that_does_not_match_is_rejected(frontend: httpx.Client, origin: str) -> None:
    preflight = frontend.options("/recipe", headers={"Origin": origin, **PREFLIGHT})
    listed = frontend.get("/recipe", headers={"Origin": origin})

    problem = preflight.json()
    assert preflight.status_code == problem["status"] == 400
    assert preflight.headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == "/problems/bad-request"
    assert problem["detail"].startswith(f"Disallowed CORS origin: the page is from {origin}. ")
    assert int(preflight.headers["Content-Length"]) == len(preflight.content)
    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert "Access-Control-Allow-Origin" not in listed.headers
