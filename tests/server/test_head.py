"""Heads that a server must reject or accept according to RFC 9110 and RFC 9112."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.server.head import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PARAMETERS, MAX_REQUEST_LINE_BYTES
from recipe_api.server.http import MAX_PIPELINED
from tests.support.connection import exchange
from tests.support.examples import examples
from tests.support.problems import assert_rejected
from tests.support.service import Service
from tests.support.traces import Backstage
from tests.support.wire import chunked, request

NO_HOST = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
BODY = b"3\r\nabc\r\n0\r\n\r\n"
TAIL = request("/tail", b"", method="GET")


def with_headers(*lines: str, version: str = "1.1", host: str = "Host: x") -> bytes:
    """Return the head of a POST request with these header lines, except empty ones."""
    head = [f"POST /recipe HTTP/{version}", *filter(None, [host, *lines])]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"


def coded(coding: str, *, version: str = "1.1") -> bytes:
    return with_headers(f"Transfer-Encoding: {coding}", version=version) + BODY


def bad_chunk(start: bytes) -> bytes:
    return with_headers("Transfer-Encoding: chunked") + start + b"\r\n"


HOSTS = ["[", "a b", "a/b", "a:port", "a@b", "a:1:2"]
LENGTHS = ["", "many", "-1", "+3", "0x3", "3 3", "3, 4", "3, 3", "9" * 25]
CODINGS = [
    *("", ",", "gzip", "identity", "chunked, gzip", "chunked, chunked", "chunked;q=1", "xchunked"),
    *(
        f"{one}\r\nTransfer-Encoding: {two}"
        for one, two in (("gzip", "identity"), ("chunked", "chunked"), ("chunked", "x"))
    ),
]
CHUNKS = [b"g", b"-1", b"0x3", b"", b"F" * 17, b"3\nabc", b"3\r\nabcd", b"3;\0"]

MALFORMED = {
    "no Host": NO_HOST,
    "two Hosts": with_headers("Host: x"),
    "two different Hosts": with_headers("Host: y"),
    "two Hosts in HTTP/1.0": with_headers("Host: x", version="1.0"),
    **{f"Host {host!r}": with_headers(host=f"Host: {host}") for host in HOSTS},
    "Host in Latin-1": with_headers(host="Host: caf\xe9"),
    "no path": b"GET recipe HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host in an absolute target": request("http:///recipe"),
    "credentials in an absolute target": request("http://me@recipes.test/recipe"),
    "another scheme": request("ftp://recipes.test/recipe"),
    "an invalid port": request("http://recipes.test:x/recipe"),
    "a target of another protocol": request("recipes.test:443"),
    "an asterisk with a suffix": request("*x", method="OPTIONS"),
    "a target that is not ASCII": b"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a version of two digits": request("/", version="11.1"),
    "a version without a dot": request("/", version="2"),
    "a version in lower case": b"GET / http/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no colon": with_headers("No colon"),
    "no name": with_headers(": x"),
    "a space before the colon": with_headers("A : b"),
    "a folded line": with_headers("A: b\r\n c"),
    "a folded first line": with_headers(" A: b", host=""),
    "a bare CR": with_headers("A: b\rc"),
    "a bare LF": with_headers("A: b\nB: c"),
    "a NUL": with_headers("A: \0"),
    "a control character": with_headers("A: \x01"),
    "a name that is not ASCII": with_headers("caf\xe9: x"),
    **{f"length {value!r}": with_headers(f"Content-Length: {value}") for value in LENGTHS},
    "two lengths": with_headers("Content-Length: 3", "Content-Length: 4"),
    "a length and chunks": with_headers("Content-Length: 13", "Transfer-Encoding: chunked") + BODY,
    "chunks and a length": with_headers("Transfer-Encoding: chunked", "Content-Length: 13") + BODY,
    **{f"coding {coding!r}": coded(coding) for coding in CODINGS},
    "chunks in HTTP/1.0": coded("chunked", version="1.0"),
    **{f"chunk {start!r}": bad_chunk(start) for start in CHUNKS},
}
"""Requests that get 400, by what is wrong with them."""

UNIMPLEMENTED = {
    "HTTP/2.0": (request("/", version="2.0"), 505, "unsupported-http-version"),
    "HTTP/3.7": (request("/", version="3.7"), 505, "unsupported-http-version"),
    "HTTP/0.9": (request("/", version="0.9"), 505, "unsupported-http-version"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported-http-version"),
    "an unknown method": (request("/", method="BREW"), 501, "unsupported-method"),
    "a method in lower case": (request("/", method="get"), 501, "unsupported-method"),
    "a tunnel": (request("recipes.test:443", method="CONNECT", length=None), 501, "unsupported-method"),
    "gzip, chunked": (coded("gzip, chunked"), 501, "unsupported-transfer-coding"),
    "gzip and chunked": (coded("gzip\r\nTransfer-Encoding: chunked"), 501, "unsupported-transfer-coding"),
    "identity, chunked": (coded("identity, chunked"), 501, "unsupported-transfer-coding"),
    "an expectation": (with_headers("Expect: a-miracle", "Content-Length: 5"), 417, "unmet-expectation"),
    "one more expectation": (with_headers("Expect: 100-continue, more", "Content-Length: 5"), 417, "unmet-expectation"),
    "another expectation": (with_headers("Expect: 100-continue", "Expect: x"), 417, "unmet-expectation"),
}
REJECTED = {name: (sent, 400, "bad-request") for name, sent in MALFORMED.items()} | UNIMPLEMENTED

rejected = pytest.mark.parametrize(("sent", "status", "code"), REJECTED.values(), ids=REJECTED.keys())


@rejected
async def test_a_rejection_is_a_problem_that_ends_the_connection_however_the_bytes_are_split(
    sent: bytes, status: int, code: str
) -> None:
    whole = sent + TAIL
    for reads in [*([whole[:cut], whole[cut:]] for cut in range(len(whole))), [bytes([byte]) for byte in whole]]:
        ((got, content), *more), ended = await exchange(*reads)
        assert (got, more, ended) == (status, [], True), reads
        assert_rejected(got, content, code)


@rejected
async def test_a_rejection_comes_after_the_responses_to_previous_requests(sent: bytes, status: int, code: str) -> None:
    before = [request("/first", b"one"), request("/second", chunked(b"two"), "Transfer-Encoding: chunked", length=None)]

    (first, second, (got, content)), ended = await exchange(b"".join(before) + sent)

    assert [first, second] == [(200, b"POST /first one"), (200, b"POST /second two")]
    if code == "unsupported-method" and got == 400:
        return  # an unknown method is recognized only if a read begins with it
    assert (got, ended) == (status, True)
    assert_rejected(got, content, code)


@rejected
def test_a_rejection_reaches_the_client(
    service: Service, backstage: Backstage, sent: bytes, status: int, code: str
) -> None:
    with service.connect() as wire:
        wire.send(sent)
        response = wire.read()
        assert wire.is_closed()

    assert (response.status, response.headers["Content-Type"]) == (status, "application/problem+json")
    assert response.headers["Connection"] == "close"
    assert response.headers["Date"]
    assert_rejected(response.status, response.body, code)
    assert backstage.nothing_is_left()


def test_the_detail_of_malformed_http_names_the_cause(service: Service) -> None:
    with service.connect() as wire:
        wire.send(with_headers("A : b"))
        assert wire.read().json()["detail"] == "This is not valid HTTP/1.1: Invalid header token."


def test_a_rejected_head_request_gets_no_content(service: Service) -> None:
    with service.connect() as wire:
        wire.send(b"HEAD / HTTP/1.1\r\n\r\n")
        assert wire.read(method="HEAD").status == 400
        assert wire.is_closed()


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        pytest.param(request("/a", b"", version="1.0").replace(b"Host: recipes.test\r\n", b""), b"POST /a ", id="1.0"),
        pytest.param(request("/a", b"x", version="1.2"), b"POST /a x", id="a higher minor version"),
        *(
            pytest.param(with_headers("Content-Length: 0", host=f"Host: {host}"), b"POST /recipe ", id=f"Host {host}")
            for host in ("", "x:", "x:80", "a_b-c.test", "[::1]:8000", "[v1.x:y]", "%C3%A9.test", " x ")
        ),
        pytest.param(request("http://other.test", b"x"), b"POST / x", id="an absolute target without a path"),
        pytest.param(request("http://other.test?q=1", b"x"), b"POST /?q=1 x", id="an absolute target with a query"),
        pytest.param(request("HTTPS://o.test:443/a?q", b"x"), b"POST /a?q x", id="a complete absolute target"),
        pytest.param(request("http://[::1]:1/a", b"x"), b"POST /a x", id="an absolute target with an address"),
        pytest.param(request("*", b"", method="OPTIONS"), b"OPTIONS * ", id="an asterisk"),
        pytest.param(b"\r\n" + request("/a", b"x"), b"POST /a x", id="an empty line before"),
        pytest.param(coded("Chunked"), b"POST /recipe abc", id="a coding in capitals"),
        pytest.param(coded("chunked").replace(b"3\r\n", b"3;a=b;c\r\n"), b"POST /recipe abc", id="chunk extensions"),
        pytest.param(request("/a", b"x", "Expect: 100-Continue"), b"POST /a x", id="an expectation in capitals"),
        pytest.param(request("/a", b"x", "Expect: 100-continue,"), b"POST /a x", id="an expectation and a comma"),
        pytest.param(request("/a", b"x", "Expect: a-miracle", version="1.0"), b"POST /a x", id="an expectation in 1.0"),
    ],
)
async def test_a_valid_request_is_served_however_it_arrives(sent: bytes, content: bytes) -> None:
    for reads in ([sent], [bytes([byte]) for byte in sent]):
        assert (await exchange(*reads))[0] == [(200, content)]


async def test_the_host_of_an_absolute_target_replaces_the_header() -> None:
    hosts: list[list[bytes]] = []

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001, ARG001
        hosts.append([value for name, value in scope["headers"] if name == b"host"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await exchange(request("http://other.test:81/", b""), app=app)

    assert hosts == [[b"other.test:81"]]


async def test_an_expectation_of_http_1_0_is_ignored() -> None:
    head, body = request("/a", b"", "Expect: 100-continue", version="1.0", length=1), b"x"

    assert await exchange(head, body) == ([(200, b"POST /a x")], True)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_only_http_1_1_gets_100_continue(service: Service, version: str) -> None:
    with service.connect() as wire:
        wire.send(
            request(
                "/recipe",
                b"",
                "Content-Type: multipart/form-data; boundary=x",
                "Expect: 100-continue",
                version=version,
                length=5,
            )
        )
        if version == "1.1":
            assert wire.read_exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"--x--")
        assert wire.read().status == 422


def head_of(*, target: int, header: int) -> bytes:
    return request("/" + "x" * (target - 1), b"", f"X: {'y' * header}", method="GET")


LONGEST_TARGET = MAX_REQUEST_LINE_BYTES - len("GET  HTTP/1.1\r\n")
FITTING = MAX_HEAD_BYTES - len(head_of(target=1, header=0)) + 1


@settings(max_examples=examples(60))
@given(
    target=st.sampled_from([1, 4000, LONGEST_TARGET, LONGEST_TARGET + 1, 70_000]) | st.integers(1, 100_000),
    excess=st.sampled_from([-5000, -1, 0, 1, 100, 14_000, 70_000]) | st.integers(-5000, 100_000),
    cuts=st.lists(st.integers(1, 250_000), max_size=6),
    tail=st.sampled_from([b"", TAIL]),
)
async def test_the_limits_on_a_head_are_exact(*, target: int, excess: int, cuts: list[int], tail: bytes) -> None:
    head = head_of(target=target, header=max(FITTING - target + excess, 0))
    sent = head + tail
    ends = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]

    (first, *_), ended = await exchange(*(sent[start:end] for start, end in pairwise(ends)))

    expected = 414 if target > LONGEST_TARGET else 431 if len(head) > MAX_HEAD_BYTES else 200
    assert (first[0], ended) == (expected, expected != 200)
    if expected != 200:
        assert_rejected(expected, first[1], "target-too-long" if expected == 414 else "headers-too-large")


async def test_the_number_of_headers_is_limited_however_they_arrive() -> None:
    for excess in (0, 1):
        lines = [f"X-{number}: y" for number in range(MAX_HEADERS - 2 + excess)]  # beside Host and Content-Length
        sent = request("/", b"", *lines, method="GET")
        for reads in ([sent], [bytes([byte]) for byte in sent]):
            ((status, content), *_), _ = await exchange(*reads)

            assert status == (431 if excess else 200)
            if excess:
                assert "at most 100 headers" in assert_rejected(status, content, "headers-too-large")["detail"]


async def test_the_number_of_query_parameters_is_limited() -> None:
    query = "&".join(["a"] * MAX_PARAMETERS)

    assert (await exchange(request(f"/?{query}", b"")))[0][0][0] == 200
    ((status, content),), ended = await exchange(request(f"/?{query}&", b""))
    assert (status, ended) == (400, True)
    assert_rejected(status, content, "bad-request")


async def test_a_client_that_pipelines_thousands_of_requests_gets_the_first_responses_and_an_error() -> None:
    got, ended = await exchange(request("/", b"", method="GET") * 5000)

    assert [status for status, _ in got] == [200] * (MAX_PIPELINED + 1) + [429]
    assert ended
    assert_rejected(429, got[-1][1], "too-many-requests")
