"""Content negotiation with the headers that real clients send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.asgi import RequestHeaders
from recipe_api.web.negotiation import accepts_gzip, prefers_html

CHROMIUM = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def headers(name: str, *values: str) -> RequestHeaders:
    return RequestHeaders([(name.encode(), value.encode("latin-1")) for value in values])


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param(CHROMIUM, id="Chromium"),
        pytest.param(FIREFOX, id="Firefox and WebKit"),
        "text/html",
        "TEXT/HTML",
        "text/*",
        "text/html;charset=utf-8",
        "text/html, application/json;q=0.9",
        "application/json;q=0.5, text/html;q=0.6",
        "text/html;q=0.1, */*;q=0",
        "*/*;q=0.1, text/html;q=0.2",
        'image/png;title="a,b", text/html',
        pytest.param("text/html, text/plain, text/sgml, text/css, */*;q=0.01", id="Lynx"),
    ],
)
def test_clients_that_prefer_html_get_html(accept: str) -> None:
    assert prefers_html(headers("accept", accept))


@pytest.mark.parametrize(
    "accept",
    [
        "",
        pytest.param("*/*", id="curl and fetch"),
        pytest.param("application/json, text/plain, */*", id="axios"),
        pytest.param("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", id="Java 8"),
        pytest.param("text/html, image/gif, image/jpeg, */*; q=0.2", id="Java 17"),
        pytest.param("application/json, text/javascript, */*; q=0.01", id="jQuery"),
        "application/json",
        "application/json, text/html",
        "text/html, application/json",
        "text/html;q=0.5, application/json",
        "text/html;q=0.5, application/problem+json",
        "text/html;q=0, */*",
        "text/html;q=0",
        "text/html;q=0.5, */*",
        "text/html;q=nan, */*;q=0.1",
        "text/html;q=7, application/json;q=1",
        "text/plain, */*",
        "image/png",
        "nonsense",
        ",,;,",
    ],
)
def test_other_clients_get_json(accept: str) -> None:
    assert not prefers_html(headers("accept", accept))


def test_several_headers_count_as_one_list() -> None:
    assert prefers_html(headers("accept", "application/json;q=0.5", "text/html"))
    assert not prefers_html(RequestHeaders([]))


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "x-gzip", "gzip, deflate, br, zstd", "br, gzip;q=0.5", "*", "*;q=0.1", "identity, gzip"]
)
def test_clients_that_accept_gzip_get_gzip(coding: str) -> None:
    assert accepts_gzip(headers("accept-encoding", coding))


@pytest.mark.parametrize(
    "coding",
    ["", "identity", "br", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "identity, gzip;q=0.5", "gzipped", "gzip;q="],
)
def test_other_clients_get_no_gzip(coding: str) -> None:
    assert not accepts_gzip(headers("accept-encoding", coding))


def test_nothing_is_compressed_without_the_header() -> None:
    assert not accepts_gzip(RequestHeaders([]))


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_header_raises_an_error(value: str) -> None:
    assert prefers_html(headers("accept", value, f"text/{value}")) in {True, False}
    assert accepts_gzip(headers("accept-encoding", value)) in {True, False}


@pytest.mark.timeout(20)  # seconds: a fraction of one, or minutes if every quote is read from each other
def test_unclosed_quotes_take_linear_time() -> None:
    unclosed = '"' + '\\"' * 16_000
    accepts_gzip(headers("accept-encoding", unclosed))
    prefers_html(headers("accept", "text/html, " + unclosed))


def test_only_the_first_fifty_entries_count() -> None:
    assert prefers_html(headers("accept", "image/png, " * 49 + "text/html"))
    assert not prefers_html(headers("accept", "image/png, " * 50 + "text/html"))
