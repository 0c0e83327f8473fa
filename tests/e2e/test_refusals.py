"""Rejected uploads: the response, that the client can read it, and that nothing is left. Over real sockets."""

import gzip
import http.client
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.settings import PART_SIZE
from recipe_api.units import KIB, MIB
from tests.support.calls import post
from tests.support.examples import examples
from tests.support.forms import (
    BOUNDARY,
    CONTENT_TYPE,
    END,
    HEADER,
    Part,
    file_part,
    form,
    jpeg,
    recipe_form,
    text_part,
)
from tests.support.problems import assert_problem
from tests.support.service import API_TOKEN, HOST, HTTP_PROTOCOLS, Service, bearer
from tests.support.traces import NOTHING, Backstage, eventually
from tests.support.wire import Response, Wire, chunked, request

PHOTO = jpeg(3000)
LARGE = 20 * MIB
LABEL = text_part("Pancakes")
FILE = file_part(PHOTO)
BOM = b"\xef\xbb\xbf"
ONLY_OURS = pytest.mark.parametrize("http_protocol", ["recipe_api"])
"""For malformed HTTP. `test_httptools` shows what uvicorn does with it."""


def send(service: Service, body: bytes, *headers: str, length: int | None = -1) -> Response:
    with service.connect() as wire:
        wire.send(request("/recipe", body, *(headers or [HEADER]), length=length))
        return wire.read()


class TestForms:
    """Forms that arrive whole and are invalid."""

    @pytest.mark.parametrize(
        ("parts", "status", "code", "field"),
        [
            pytest.param([], 422, "field-missing", "photo", id="nothing in it"),
            pytest.param([LABEL], 422, "field-missing", "photo", id="no photo"),
            pytest.param([FILE], 422, "field-missing", "label", id="no label"),
            pytest.param([LABEL, FILE, FILE], 422, "field-repeated", "photo", id="two photos"),
            pytest.param([LABEL, LABEL, FILE], 422, "field-repeated", "label", id="two labels"),
            pytest.param([LABEL, FILE, LABEL], 422, "field-repeated", "label", id="a second label at the end"),
            pytest.param(
                [LABEL, Part(header=b'; name="photo"', data=PHOTO)],
                *(422, "field-unexpected", "photo"),
                id="photo without a file name",
            ),
            pytest.param(
                [file_part(b"Pancakes", name="label"), FILE], 422, "field-unexpected", "label", id="label as a file"
            ),
            pytest.param([LABEL, FILE, file_part(b"x", name="more")], 422, "field-unexpected", "more", id="other file"),
            pytest.param([LABEL, file_part(b"")], 422, "field-empty", "photo", id="empty photo"),
            pytest.param([LABEL, file_part(b"", filename="")], 422, "field-missing", "photo", id="no file chosen"),
            pytest.param([text_part(""), FILE], 422, "field-empty", "label", id="empty label"),
            pytest.param([text_part(" \t\r\n\u2003"), FILE], 422, "field-empty", "label", id="blank label"),
            pytest.param([FILE, text_part("")], 422, "field-empty", "label", id="empty label after the photo"),
            pytest.param([text_part(b"a\0b"), FILE], 422, "invalid-text", "label", id="NUL in the label"),
            pytest.param([text_part(b"\xed\xa0\x80"), FILE], 422, "invalid-text", "label", id="surrogate in the label"),
            pytest.param([text_part(b"caf\xe9"), FILE], 422, "invalid-text", "label", id="label in Latin-1"),
            pytest.param([text_part(b"x\xf0\x9f\xa5"), FILE], 422, "invalid-text", "label", id="half a character"),
            pytest.param([text_part("x" * 1025), FILE], 413, "text-too-large", "label", id="label one byte too long"),
            pytest.param([text_part("é" * 513), FILE], 413, "text-too-large", "label", id="label too long in bytes"),
            pytest.param([text_part("x" * MIB), FILE], 413, "text-too-large", "label", id="label of a megabyte"),
            pytest.param([FILE, text_part("x" * MIB)], 413, "text-too-large", "label", id="the same after the photo"),
            pytest.param(
                [LABEL, *[text_part("", name=f"f{number}") for number in range(19)], FILE],
                *(413, "too-many-parts", None),
                id="21 parts",
            ),
            pytest.param([text_part("", name="x")] * 10_000, 413, "too-many-parts", None, id="10,000 parts"),
            pytest.param([LABEL, file_part(b"<!doctype html><p>")], 415, "unsupported-photo", "photo", id="HTML"),
            pytest.param(
                [LABEL, file_part(b'<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml")],
                *(415, "unsupported-photo", "photo"),
                id="SVG",
            ),
            pytest.param([LABEL, file_part(b"%PDF-1.7\n")], 415, "unsupported-photo", "photo", id="PDF"),
            pytest.param([LABEL, file_part(BOM + PHOTO)], 415, "unsupported-photo", "photo", id="JPEG behind a BOM"),
            pytest.param([LABEL, file_part(b"\xff\xd8")], 415, "unsupported-photo", "photo", id="two bytes of a JPEG"),
            pytest.param([LABEL, file_part(b"II*\0" * 9)], 415, "unsupported-photo", "photo", id="TIFF, not asked for"),
        ],
    )
    def test_are_rejected_and_leave_nothing(
        self, service: Service, backstage: Backstage, parts: list[Part], status: int, code: str, field: str | None
    ) -> None:
        response = send(service, form(*parts))

        assert_problem(response, status, code, field=field)
        assert backstage.nothing_is_left()

    @pytest.mark.parametrize(
        "part",
        [
            b"Content-Type: text/plain\r\n\r\nx\r\n",
            b"Content-Disposition: form-data\r\n\r\nx\r\n",
            b'Content-Disposition: attachment; name="label"\r\n\r\nx\r\n',
            b'Content-Disposition: form-data; name="label"\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n',
            b'Content Disposition: form-data; name="label"\r\n\r\nx\r\n',
            b'Content-Disposition: form-data; name="label"\n\nx\n',
            b": form-data\r\n\r\nx\r\n",
            b"\r\n\r\n\r\n",
        ],
        ids=lambda part: part.split(b"\r\n\r\n")[0].decode(),
    )
    def test_with_malformed_part_headers_are_rejected(
        self, service: Service, backstage: Backstage, part: bytes
    ) -> None:
        response = send(service, b"--%s\r\n%s" % (BOUNDARY, part) + form(LABEL, FILE))

        assert_problem(response, 400, "malformed-body")
        assert backstage.nothing_is_left()

    @pytest.mark.parametrize(
        "headers",
        [
            b"X-Long: %s\r\n" % (b"x" * MIB),
            b"X-%s: x\r\n" % (b"x" * MIB),
            b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1024) for number in range(1024)),
        ],
        ids=["one value", "one name", "a thousand headers"],
    )
    def test_with_a_megabyte_of_part_headers_are_rejected(
        self, service: Service, backstage: Backstage, headers: bytes
    ) -> None:
        response = send(service, form(LABEL)[: -len(END)] + b"--%s\r\n%s" % (BOUNDARY, headers) + form(FILE))

        assert_problem(response, 400, "malformed-body")
        assert backstage.nothing_is_left()


class TestContentTypes:
    """The content type must be that of a form."""

    @pytest.mark.parametrize(
        "content_type",
        [
            *("application/x-www-form-urlencoded", "multipart/mixed; boundary=x", "image/jpeg", "application/json-seq"),
            *("multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 300}"),
            *("", "multipart", "multipart/form-data-x; boundary=x", ";boundary=x"),
        ],
    )
    def test_other_than_multipart_are_rejected(self, service: Service, backstage: Backstage, content_type: str) -> None:
        response = send(service, recipe_form(PHOTO), f"Content-Type: {content_type}")

        assert_problem(response, 415, "not-multipart")
        assert backstage.nothing_is_left()

    def test_of_json_announces_a_completion_and_not_a_photo(self, service: Service, backstage: Backstage) -> None:
        response = send(service, recipe_form(PHOTO), "Content-Type: application/json")
        assert_problem(response, 400, "malformed-body")

        response = send(
            service, b'{"label": "Pancakes", "photo": "/9j/4AAQSkZJRg=="}', "Content-Type: application/json"
        )
        assert_problem(response, 422, "invalid-field", field="upload")
        assert backstage.nothing_is_left()

    def test_must_not_be_missing(self, service: Service, backstage: Backstage) -> None:
        response = send(service, b"", "Accept: */*")

        assert_problem(response, 415, "not-multipart")
        assert backstage.nothing_is_left()

    @pytest.mark.parametrize(
        "content_type",
        [
            f"Multipart/Form-Data; Boundary={BOUNDARY.decode()}",
            f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY.decode()}"',
        ],
    )
    def test_may_have_any_form_that_rfc_2045_allows(self, service: Service, content_type: str) -> None:
        assert send(service, recipe_form(PHOTO), f"Content-Type: {content_type}").status == 201

    def test_with_another_boundary_are_rejected(self, service: Service, backstage: Backstage) -> None:
        response = send(service, recipe_form(PHOTO), "Content-Type: multipart/form-data; boundary=another")

        assert_problem(response, 400, "malformed-body")
        assert backstage.nothing_is_left()


class TestContentHeaders:
    """The headers that describe the body must be consistent and supported."""

    @pytest.mark.parametrize(
        "coding", ["gzip", "GZIP", "br", "identity, gzip", "deflate\r\nContent-Encoding: identity"]
    )
    def test_a_compressed_form_is_rejected(self, service: Service, backstage: Backstage, coding: str) -> None:
        response = send(service, gzip.compress(recipe_form(PHOTO)), HEADER, f"Content-Encoding: {coding}")

        assert_problem(response, 415, "unsupported-encoding")
        assert response.headers["Accept-Encoding"] == "identity"
        assert backstage.nothing_is_left()

    def test_a_compressed_change_is_rejected(self, service: Service) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        with service.client() as client:
            recipe = post(client).json()
            headers |= bearer(recipe["manage_token"])
            response = client.patch(
                f"/recipe/{recipe['id']}", content=gzip.compress(b'{"label": "x"}'), headers=headers
            )

        assert_problem(response, 415, "unsupported-encoding")

    @pytest.mark.parametrize("coding", ["identity", "Identity", ""])
    def test_an_uncompressed_form_is_accepted(self, service: Service, coding: str) -> None:
        assert send(service, recipe_form(PHOTO), HEADER, f"Content-Encoding: {coding}").status == 201

    def test_different_content_types_are_rejected(self, service: Service, backstage: Backstage) -> None:
        response = send(service, recipe_form(PHOTO), HEADER, "Content-Type: multipart/form-data; boundary=x")

        assert_problem(response, 400, "bad-request")
        assert backstage.nothing_is_left()

    def test_a_repeated_content_type_is_accepted(self, service: Service) -> None:
        assert send(service, recipe_form(PHOTO), HEADER, HEADER).status == 201


@pytest.fixture(scope="module", params=HTTP_PROTOCOLS)
def kept_wire(request: pytest.FixtureRequest, shared_services: Callable[[str], Service]) -> Iterator[Wire]:
    with shared_services(request.param).connect() as connected:
        yield connected


class TestTruncatedBodies:
    """A form counts only when its closing boundary has been seen."""

    BODY = form(LABEL, file_part(jpeg(400)))
    PHOTO_FIRST = form(file_part(jpeg(400)), LABEL)

    @settings(max_examples=examples(80))
    @given(body=st.sampled_from([BODY, PHOTO_FIRST]), cut=st.integers(0, len(BODY) - len(b"--\r\n")))
    @pytest.mark.slow
    def test_anywhere_are_rejected(self, kept_wire: Wire, shared_backstage: Backstage, body: bytes, cut: int) -> None:
        before = shared_backstage.traces()

        kept_wire.send(request("/recipe", body[:cut], HEADER))
        response = kept_wire.read()

        assert_problem(response, 400, "malformed-body")
        assert shared_backstage.traces() == before

    @pytest.mark.parametrize("cut", [PART_SIZE, 2 * PART_SIZE + 5, len(recipe_form(b"")) + 3 * PART_SIZE - 50])
    def test_after_parts_were_sent_are_rejected_and_undone(
        self, service: Service, backstage: Backstage, cut: int
    ) -> None:
        response = send(service, recipe_form(jpeg(3 * PART_SIZE))[:cut])

        assert_problem(response, 400, "malformed-body")
        assert backstage.nothing_is_left()

    @ONLY_OURS
    @pytest.mark.parametrize("announced", [100, len(recipe_form(PHOTO)) - 5], ids=["much", "the end of its boundary"])
    def test_by_a_content_length_that_is_too_short_are_rejected(
        self, service: Service, backstage: Backstage, announced: int
    ) -> None:
        response = send(service, recipe_form(PHOTO), HEADER, length=announced)

        assert_problem(response, 400, "malformed-body")
        assert backstage.nothing_is_left()

    def test_with_a_content_length_that_is_too_long_are_rejected_after_a_timeout(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(BODY_IDLE_SECONDS="0.3")
        body = recipe_form(PHOTO)

        response = send(service, body, HEADER, length=len(body) + 10)

        assert_problem(response, 408, "body-stalled")
        assert backstage.nothing_is_left()

    @pytest.mark.parametrize("cut", [10, 300, 3000], ids=lambda cut: f"at {cut}")
    def test_in_the_middle_of_a_chunk_leave_nothing(self, service: Service, backstage: Backstage, cut: int) -> None:
        with service.connect() as wire:
            body = chunked(recipe_form(PHOTO))[:cut]
            wire.send(request("/recipe", b"", HEADER, "Transfer-Encoding: chunked", length=None) + body)
            wire.end_sending()
            assert wire.is_closed()

        assert backstage.nothing_is_left()

    def test_by_an_early_last_chunk_are_rejected(self, service: Service, backstage: Backstage) -> None:
        body = chunked(recipe_form(PHOTO)[:2000])

        response = send(service, body, HEADER, "Transfer-Encoding: chunked", length=None)

        assert_problem(response, 400, "malformed-body")
        assert backstage.nothing_is_left()

    @ONLY_OURS
    def test_by_a_malformed_chunk_leave_nothing(self, service: Service, backstage: Backstage) -> None:
        body = chunked(recipe_form(jpeg(2 * PART_SIZE))[:-9], end=b"not a number\r\n")

        with service.connect() as wire:
            wire.send(request("/recipe", body, HEADER, "Transfer-Encoding: chunked", length=None))
            response = wire.read()
            assert wire.is_closed()

        assert (response.status, response.headers["Content-Type"]) == (400, "application/problem+json")
        assert response.json()["type"] == "/problems/bad-request"
        assert backstage.nothing_is_left()


class TestSizes:
    """Limits apply whatever the headers declare, and before the first byte if they declare too much."""

    LIMIT = 100 * KIB

    @pytest.fixture
    def small(self, start_service: Callable[..., Service]) -> Service:
        return start_service(MAX_UPLOAD_BYTES=str(self.LIMIT))

    def test_a_photo_of_exactly_the_limit_is_stored(self, small: Service) -> None:
        assert send(small, recipe_form(jpeg(self.LIMIT))).status == 201

    @pytest.mark.parametrize("by_chunks", [True, False], ids=["in chunks", "with a length"])
    def test_one_byte_more_is_rejected(self, small: Service, backstage: Backstage, *, by_chunks: bool) -> None:
        body = recipe_form(jpeg(self.LIMIT + 1))
        if by_chunks:
            response = send(small, chunked(body), HEADER, "Transfer-Encoding: chunked", length=None)
        else:
            response = send(small, body)

        detail = assert_problem(response, 413, "photo-too-large", field="photo")["detail"]
        assert detail == "The field photo may have at most 100 KiB. Send a smaller file."
        assert backstage.nothing_is_left()

    def test_a_content_length_over_the_limit_is_rejected_before_a_byte_is_sent(self, service: Service) -> None:
        with service.connect() as wire:
            wire.send(request("/recipe", b"", HEADER, length=service.settings.max_upload_bytes + 10 * MIB))
            detail = assert_problem(wire.read(), 413, "body-too-large")["detail"]

        assert detail == "A photo may have at most 64 MiB, and the rest of the form 65 KiB. Send less."

    def test_a_client_that_waits_gets_no_100_continue(self, service: Service) -> None:
        with service.connect() as wire:
            announced = service.settings.max_upload_bytes + 10 * MIB
            wire.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=announced))
            response = wire.read()
            assert wire.is_closed()

        assert_problem(response, 413, "body-too-large")

    def test_ignored_fields_count_as_well(self, small: Service, backstage: Backstage) -> None:
        body = form(text_part("x" * 300 * KIB, name="comment"), LABEL, FILE)

        response = send(small, chunked(body), HEADER, "Transfer-Encoding: chunked", length=None)

        assert_problem(response, 413, "body-too-large")
        assert backstage.nothing_is_left()

    def test_an_endless_epilogue_is_rejected(self, small: Service, backstage: Backstage) -> None:
        body = recipe_form(PHOTO) + b"x" * 300 * KIB

        response = send(small, chunked(body), HEADER, "Transfer-Encoding: chunked", length=None)

        assert_problem(response, 413, "body-too-large")
        assert backstage.nothing_is_left()

    def test_an_endless_photo_is_rejected_at_the_limit(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(MAX_UPLOAD_BYTES=str(2 * PART_SIZE))
        body = recipe_form(jpeg(2 * PART_SIZE + MIB))

        response = send(service, chunked(body), HEADER, "Transfer-Encoding: chunked", length=None)

        # While a part is being sent, so much may be buffered that one chunk exceeds the limit of the body as well.
        assert response.status == 413
        assert response.json()["type"] in {"/problems/photo-too-large", "/problems/body-too-large"}
        assert backstage.nothing_is_left()


class TestClientsThatStop:
    """Clients that disconnect, or stop sending."""

    @pytest.mark.parametrize("sent", [200, 3 * MIB, 2 * PART_SIZE + MIB], ids=lambda sent: f"after {sent} bytes")
    def test_by_disconnecting_leave_nothing(self, service: Service, backstage: Backstage, sent: int) -> None:
        body = recipe_form(jpeg(4 * PART_SIZE))
        with service.connect() as wire:
            wire.send(request("/recipe", body[:sent], HEADER, length=len(body)))
            if sent > PART_SIZE:
                assert eventually(lambda: len(backstage.multipart_uploads()) == 1)

        assert backstage.nothing_is_left()

    def test_by_disconnecting_do_not_block_the_service(self, service: Service, backstage: Backstage) -> None:
        for _ in range(5):
            with service.connect() as wire:
                wire.send(request("/recipe", recipe_form(PHOTO)[:2000], HEADER, length=MIB))

        assert send(service, recipe_form(PHOTO)).status == 201
        assert eventually(lambda: len(backstage.objects()) == 1)
        assert backstage.multipart_uploads() == []

    @pytest.mark.parametrize("sent", [0, 100, 2000, 2 * PART_SIZE], ids=lambda sent: f"after {sent} bytes")
    def test_without_disconnecting_get_408(
        self, start_service: Callable[..., Service], backstage: Backstage, sent: int
    ) -> None:
        service = start_service(BODY_IDLE_SECONDS="0.3")
        body = recipe_form(jpeg(3 * PART_SIZE))

        response = send(service, body[:sent], HEADER, length=len(body))

        assert_problem(response, 408, "body-stalled")
        assert response.headers["Connection"] == "close"
        assert backstage.nothing_is_left()


class TestResponsesBeforeTheBodyWasRead:
    """A client that sends its whole body first still reads the response: no reset overtakes it."""

    @pytest.mark.parametrize(
        ("target", "headers", "status", "code"),
        [
            pytest.param("/nowhere", {"Content-Type": CONTENT_TYPE}, 404, "not-found", id="404"),
            pytest.param("/docs", {"Content-Type": CONTENT_TYPE}, 405, "method-not-allowed", id="405"),
            pytest.param(
                "/recipe", {"Content-Type": "text/plain", **bearer(API_TOKEN)}, 415, "not-multipart", id="415"
            ),
            pytest.param("/recipe", {"Content-Type": CONTENT_TYPE}, 401, "token-wanted", id="401"),
            pytest.param(
                "/recipe", {"Content-Type": CONTENT_TYPE, **bearer(API_TOKEN)}, 413, "body-too-large", id="413"
            ),
        ],
    )
    @pytest.mark.parametrize("client", ["http.client", pytest.param("httpx", marks=pytest.mark.exhaustive)])
    def test_reach_the_client(
        self,
        start_service: Callable[..., Service],
        backstage: Backstage,
        target: str,
        headers: dict[str, str],
        status: int,
        code: str,
        client: str,
    ) -> None:
        service = start_service(API_TOKENS=f"tests:{API_TOKEN}", MAX_UPLOAD_BYTES=str(MIB))
        body = recipe_form(jpeg(LARGE))

        if client == "httpx":
            with service.client() as opened:
                rejection: httpx.Response | Response = opened.post(target, content=body, headers=headers)
        else:
            connection = http.client.HTTPConnection(HOST, service.port, timeout=60)
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            rejection = Response(status=response.status, headers=response.headers, body=response.read())
            connection.close()

        assert_problem(rejection, status, code)
        assert rejection.headers["Connection"] == "close"
        assert backstage.traces() == NOTHING

    @pytest.mark.parametrize(
        ("make_body", "status", "code", "field"),
        [
            (lambda: form(file_part(b"<html>" + b"x" * LARGE), LABEL), 415, "unsupported-photo", "photo"),
            (lambda: form(text_part(""), file_part(jpeg(LARGE))), 422, "field-empty", "label"),
            (lambda: b"no form" + b"x" * LARGE, 400, "malformed-body", None),
        ],
        ids=["415", "422", "400"],
    )
    def test_reach_the_client_if_the_first_bytes_are_invalid(
        self,
        service: Service,
        backstage: Backstage,
        make_body: Callable[[], bytes],
        status: int,
        code: str,
        field: str | None,
    ) -> None:
        with service.client() as client:
            response = client.post("/recipe", content=make_body(), headers={"Content-Type": CONTENT_TYPE})

        assert_problem(response, status, code, field=field)
        assert backstage.traces() == NOTHING
