"""Heads, bodies and connections, over real sockets."""

import logging
from contextlib import suppress

import pytest

from recipe_api.server import http as bounded_http
from recipe_api.units import MIB
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.problems import assert_rejected
from tests.support.service import Service
from tests.support.traces import Backstage
from tests.support.wire import chunked, request

PHOTO = jpeg(3000)


class TestHttp:
    """Heads that are too large or too slow, and bytes between requests."""

    @pytest.mark.parametrize(
        "headers",
        [[b"X-Long: " + b"x" * MIB], [b"X-Short: x"] * 100_000, [b"X-" + b"x" * MIB + b": x"]],
        ids=["one value", "many headers", "one name"],
    )
    def test_a_megabyte_of_headers_is_rejected_before_it_has_arrived(
        self, service: Service, headers: list[bytes]
    ) -> None:
        with service.connect() as wire:
            wire.send(b"POST /recipe HTTP/1.1\r\n", b"\r\n".join(headers))  # endless
            response = wire.read()

        assert response.status == 431
        assert_rejected(response.status, response.body, "headers-too-large")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [(bytes(100_000), 400), (b"GET /" + b"a" * 100_000 + b" \0\r\n", 414)],
        ids=["not HTTP", "a long line"],
    )
    def test_a_request_with_two_errors_is_rejected_once(
        self, service: Service, sent: bytes, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        with service.connect() as wire:
            wire.send(sent)
            assert wire.read().status == status
            assert wire.is_closed()

        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    def test_endless_trailers_are_cut_off(self, service: Service) -> None:
        endless = b"X: y\r\n" * 20_000  # more than a head may have
        with service.connect() as wire, suppress(ConnectionError):
            wire.send(request("/recipe", b"", HEADER, "Transfer-Encoding: chunked", length=None) + b"0\r\n")
            for _ in range(20):
                wire.send(endless)
            while wire.read_exactly(1):
                pass  # the error response, if it comes before the end; the test's timeout limits the wait
        with service.client() as client:
            assert client.get("/healthz").status_code == 200

    def test_a_trailer_after_a_chunked_upload_is_ignored(self, service: Service) -> None:
        body = chunked(recipe_form(jpeg(500)), end=b"0\r\nX-Checksum: none\r\n\r\n")
        with service.connect() as wire:
            wire.send(request("/recipe", body, HEADER, "Transfer-Encoding: chunked", length=None))
            assert wire.read().status == 201

    def test_headers_below_the_limit_are_accepted(self, service: Service) -> None:
        with service.connect() as wire:
            lines = [f"X-{number}: {'x' * 1000}" for number in range(15)]
            for _ in range(2):  # the count starts again with each request
                wire.send(request("/healthz", b"", *lines, method="GET"))
                assert wire.read(method="GET").status == 200

    @pytest.mark.parametrize("sent", [b"", b"POST /recipe HTT", b"POST /recipe HTTP/1.1\r\nHost: x\r\n"])
    def test_a_head_that_does_not_arrive_times_out(
        self, service: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes
    ) -> None:
        monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.1)
        monkeypatch.setattr(bounded_http, "KEEP_ALIVE_SECONDS", 0.1)
        with service.connect() as wire:
            wire.send(sent)
            assert wire.is_closed()

    def test_malformed_bytes_after_a_request_do_not_hide_its_response(
        self, service: Service, backstage: Backstage
    ) -> None:
        with service.connect() as wire:
            wire.send(request("/recipe", recipe_form(PHOTO), HEADER) + b"\0 not HTTP \r\n\r\n")
            response = wire.read()
            assert wire.read().status == 400
            assert wire.is_closed()

        assert response.status == 201
        assert len(backstage.objects()) == 1

    @pytest.mark.parametrize("size", [8193, 16_384, 17_000, 80_000, 300_000])
    @pytest.mark.parametrize("pieces", [1, 2, 7])
    def test_a_target_that_is_too_long_is_rejected_as_such(self, service: Service, size: int, pieces: int) -> None:
        sent = request("/" + "x" * (size - 1), method="GET")
        step = len(sent) // pieces + 1
        with service.connect() as wire, suppress(ConnectionError):
            wire.send(*(sent[at : at + step] for at in range(0, len(sent), step)))
            response = wire.read(method="GET")
            assert wire.is_closed()

        assert response.status == 414
        assert_rejected(response.status, response.body, "target-too-long")

    def test_a_malformed_body_does_not_hide_the_response_to_the_previous_request(self, service: Service) -> None:
        malformed = request("/recipe", b"no chunk", HEADER, "Transfer-Encoding: chunked", length=None)
        with service.connect() as wire:
            wire.send(request("/healthz", method="GET") + malformed)
            wire.end_sending()
            assert [wire.read().status for _ in range(2)] == [200, 400]
            assert wire.is_closed()


class TestClients:
    """Requests as real clients send them over plain HTTP."""

    H2C = (
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        "Connection: Upgrade, HTTP2-Settings",
    )

    def test_an_upload_of_java_is_stored(self, service: Service, backstage: Backstage) -> None:
        form_bytes = recipe_form(PHOTO)
        with service.connect() as wire:
            for _ in range(2):
                wire.send(request("/recipe", form_bytes, HEADER, *self.H2C))
                assert wire.read().status == 201

        assert len(backstage.objects()) == 2

    @pytest.mark.parametrize("length", [None, 0], ids=["17 and later", "11"])
    def test_a_get_request_of_java_gets_its_response(self, service: Service, length: int | None) -> None:
        get = request("/recipe", b"", *self.H2C, method="GET", length=length)
        with service.connect() as wire:
            wire.send(get * 3)
            assert [wire.read(method="GET").status for _ in range(3)] == [200] * 3

    def test_a_large_upload_with_an_upgrade_header_bypasses_the_parser_and_the_next_request_is_read(
        self, service: Service, backstage: Backstage
    ) -> None:
        large = recipe_form(jpeg(3 * MIB))
        with service.connect() as wire:
            wire.send(request("/recipe", large, HEADER, *self.H2C))
            assert wire.read().status == 201
            wire.send(request("/recipe", chunked(large), HEADER, *self.H2C, "Transfer-Encoding: chunked", length=None))
            assert wire.read().status == 201

        assert len(backstage.objects()) == 2
