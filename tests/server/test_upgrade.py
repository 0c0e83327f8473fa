"""A request that offers another protocol is served as HTTP/1.1, however its bytes are split (RFC 9110 §7.8)."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.connection import exchange
from tests.support.examples import examples
from tests.support.service import Service
from tests.support.wire import chunked, request

H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)
WEBSOCKET = (
    *("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
    *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"),
)
OFFERS = [
    H2C,
    WEBSOCKET,
    ("Connection: upgrade", "Upgrade: TLS/1.0, HTTP/2.0"),
    ("Connection: Upgrade",),
    ("Upgrade: h2c",),
]
SMUGGLED = request("/smuggled", b"", method="GET")


def get(*offer: str, length: int | None = None) -> bytes:
    return request("/get", b"", *offer, method="GET", length=length)


def post(body: bytes, *offer: str) -> bytes:
    return request("/post", body, *offer)


def post_chunked(body: bytes, *offer: str) -> bytes:
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    return request("/post", chunked(*pieces), "Transfer-Encoding: chunked", *offer, length=None)


def response_to(method: str, body: bytes = b"") -> tuple[int, bytes]:
    return 200, b" ".join([method.encode(), b"/" + method.lower().encode(), body])


@pytest.mark.parametrize("offer", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(get, response_to("GET"), id="no body"),
        pytest.param(lambda *offer: get(*offer, length=0), response_to("GET"), id="a length of 0"),
        pytest.param(lambda *offer: post(SMUGGLED, *offer), response_to("POST", SMUGGLED), id="a length"),
        pytest.param(lambda *offer: post_chunked(SMUGGLED, *offer), response_to("POST", SMUGGLED), id="chunked"),
        pytest.param(lambda *offer: post_chunked(b"", *offer), response_to("POST"), id="no chunks"),
    ],
)
class TestAnUpgrade:
    async def test_is_ignored_however_the_bytes_are_split(self, sent, expected, offer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        message = sent(*offer)
        follower = get(*offer)
        whole = message + follower

        for cut in range(len(whole)):
            assert await exchange(whole[:cut], whole[cut:]) == ([expected, response_to("GET")], False), cut

    async def test_is_ignored_if_every_byte_arrives_alone(self, sent, expected, offer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        whole = sent(*offer) * 2

        assert await exchange(*(whole[at : at + 1] for at in range(len(whole)))) == ([expected] * 2, False)


bodies = st.binary(max_size=60) | st.sampled_from([SMUGGLED, b"0\r\n\r\n" + SMUGGLED, get(*H2C), post(b"x", *H2C)])
offers = st.sampled_from([(), *OFFERS])
messages = st.one_of(
    st.builds(lambda offer: (get(*offer), response_to("GET")), offers),
    st.builds(lambda offer: (get(*offer, length=0), response_to("GET")), offers),
    st.builds(lambda body, offer: (post(body, *offer), response_to("POST", body)), bodies, offers),
    st.builds(lambda body, offer: (post_chunked(body, *offer), response_to("POST", body)), bodies, offers),
)


@settings(max_examples=examples(200))
@given(sequence=st.lists(messages, min_size=1, max_size=6), sizes=st.lists(st.integers(1, 200), max_size=40))
async def test_consecutive_requests_are_separated(
    sequence: list[tuple[bytes, tuple[int, bytes]]], sizes: list[int]
) -> None:
    whole = b"".join(sent for sent, _ in sequence)
    cuts = [0, *(cut for cut in accumulate(sizes) if cut < len(whole)), len(whole)]

    got = await exchange(*(whole[start:end] for start, end in pairwise(cuts)))

    assert got == ([expected for _, expected in sequence], False)


async def test_a_malformed_body_after_an_upgrade_is_rejected_and_the_following_bytes_are_not_a_request() -> None:
    body = b"5\r\nhello\r\nnone\r\n\r\n" + SMUGGLED
    whole = request("/post", body, *H2C, "Transfer-Encoding: chunked", length=None)

    for cut in range(len(whole)):
        ((status, _),), ended = await exchange(whole[:cut], whole[cut:])
        assert (status, ended) == (400, True)


async def test_a_client_that_asks_to_close_gets_its_response_and_no_other() -> None:
    whole = post(b"body", "Connection: Upgrade, close", "Upgrade: h2c") + SMUGGLED

    assert await exchange(whole) == ([response_to("POST", b"body")], True)


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    with_body = request("/post", b"body", *H2C, "Expect: 100-continue")

    assert await exchange(with_body[:-4], with_body[-4:]) == ([response_to("POST", b"body")], False)


async def test_an_upgrade_of_http_1_0_is_ignored() -> None:
    whole = request("/post", SMUGGLED, *H2C, version="1.0")

    assert await exchange(whole) == ([response_to("POST", SMUGGLED)], True)


@pytest.mark.parametrize("target", ["recipes.test:443", "recipes.test:", "/recipe"])
async def test_a_connect_request_is_rejected_and_the_following_bytes_are_not_a_request(target: str) -> None:
    whole = request(target, b"", method="CONNECT", length=None) + SMUGGLED

    for cut in range(len(whole)):
        ((status, _), *more), ended = await exchange(whole[:cut], whole[cut:])
        assert (status in {400, 501}, more, ended) == (True, [], True), cut


def test_a_websocket_handshake_gets_an_ordinary_response_and_is_not_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with service.connect() as wire:
        wire.send(get(*WEBSOCKET))
        assert wire.read(method="GET").status == 404
        wire.send(request("/healthz", b"", *WEBSOCKET, method="GET"))
        assert wire.read(method="GET").status == 200

    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
