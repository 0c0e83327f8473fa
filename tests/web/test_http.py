"""What all responses have in common: problem documents, request ids, log lines, headers, CORS."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.calls import post
from tests.support.forms import HEADER, recipe_form
from tests.support.log import Lines, lines_logged
from tests.support.problems import assert_problem, assert_rejected, titles
from tests.support.service import API_TOKEN, Service
from tests.support.traces import Backstage
from tests.support.wire import request

ORIGIN = "https://app.test"
NOBODYS = UUID("00000000-0000-4000-8000-000000000000")


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


class TestPaths:
    @pytest.mark.parametrize(
        "target",
        [
            *("/nowhere", "/recipe/", "//recipe", "/recipe//", "/RECIPE", "/recipes", "/%2e%2e/recipe", "/recipe%00"),
            *("/static/", "/static/nothing.css", "/static/../docs.html", "/static/%2e%2e/pages.py", "/swagger-ui/"),
            *("/problems/nothing", "/redoc", "/%F0%9F%A5%9E", "/%ff", "/" + "x" * 8000, "/recipe/x/y", "/.env"),
        ],
    )
    def test_unknown_paths_get_404(self, service: Service, target: str) -> None:
        with service.connect() as wire:
            wire.send(request(target, method="GET"))
            assert_problem(wire.read(method="GET"), 404, "not-found")

    @pytest.mark.parametrize("host", ["evil.test", "evil.test:8000", "", "[::1]"])
    def test_the_host_header_does_not_affect_them(self, service: Service, host: str) -> None:
        with service.connect() as wire:
            wire.send(f"GET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            problem = assert_problem(wire.read(method="GET"), 404, "not-found")

        assert problem["detail"] == "There is nothing at /nowhere. /docs describes the API."

    def test_an_upload_with_a_trailing_slash_is_not_redirected(self, service: Service, backstage: Backstage) -> None:
        with service.connect() as wire:
            wire.send(request("/recipe/", recipe_form(b"\xff\xd8\xff"), HEADER))
            assert_problem(wire.read(), 404, "not-found")

        assert backstage.nothing_is_left()

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/recipe", {"GET", "HEAD", "POST"}),
            (f"/recipe/{NOBODYS}", {"GET", "HEAD", "PATCH", "DELETE"}),
            ("/", {"GET", "HEAD"}),
            ("/docs", {"GET", "HEAD"}),
            ("/openapi.json", {"GET", "HEAD"}),
            ("/healthz", {"GET", "HEAD"}),
            ("/static/page.css", {"GET", "HEAD"}),
            ("/swagger-ui/swagger-ui.css", {"GET", "HEAD"}),
        ],
    )
    @pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "QUERY"])
    def test_a_405_lists_the_allowed_methods(
        self, client: httpx.Client, path: str, allowed: set[str], method: str
    ) -> None:
        answer = client.request(method, path)

        problem = assert_problem(answer, 405, "method-not-allowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed
        assert problem["detail"] == f"{path} does not support {method}. Use one of {answer.headers['Allow']}."

    @pytest.mark.parametrize(
        "path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/recipe", "/static/page.css"]
    )
    def test_head_returns_the_headers_of_get(self, service: Service, client: httpx.Client, path: str) -> None:
        with service.connect() as wire:
            wire.send(request(path, method="HEAD"))
            head = wire.read(method="HEAD")
            wire.send(request("/healthz", method="GET"))
            assert wire.read(method="GET").status == 200  # nothing of a body came before it

        get = client.get(path, headers={"Accept-Encoding": "identity"})
        assert head.status == get.status_code == 200
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
        assert head.headers["Content-Type"] == get.headers["Content-Type"]

    def test_head_returns_the_headers_of_a_problem(self, client: httpx.Client) -> None:
        answer = client.head(f"/recipe/{uuid4()}")

        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


class TestProblems:
    @pytest.mark.parametrize("code", sorted(titles()))
    def test_the_type_links_to_an_explanation(self, client: httpx.Client, code: str) -> None:
        answer = client.get(f"/problems/{code}")

        assert answer.status_code == 200
        assert titles()[code] in answer.text

    def test_an_unexpected_error_shows_only_the_request_id(
        self, service: Service, backstage: Backstage, log: Lines
    ) -> None:
        with backstage.faulty_table(), service.client(API_TOKEN) as client:
            answer = client.get("/recipe")

        problem = assert_problem(answer, 500, "internal-error")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "zero" not in answer.text
        (line,) = log.events("unexpected error")
        assert line["request_id"] == problem["request_id"]
        assert line["exception"][0]["exc_type"] == "DivisionByZeroError"
        assert API_TOKEN not in json.dumps(line)
        assert log.requests()[0]["status"] == 500

    def test_an_unexpected_error_in_an_upload_leaves_nothing(self, service: Service, backstage: Backstage) -> None:
        backstage.sql("ALTER TABLE recipe ADD CHECK (label <> 'Pancakes')")
        try:
            with service.client() as client:
                answer = post(client)
        finally:
            backstage.sql("ALTER TABLE recipe DROP CONSTRAINT recipe_label_check")

        assert_problem(answer, 500, "internal-error")
        assert backstage.nothing_is_left()


class TestRequestIds:
    VALID = "5f9b1c2b-7d3e-8a60-router+/=made"

    @pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/recipe?limit=0", "/", "/static/page.css"])
    def test_a_valid_id_from_the_router_is_kept(self, client: httpx.Client, log: Lines, path: str) -> None:
        answer = client.get(path, headers={"X-Request-ID": self.VALID})

        assert answer.headers["X-Request-ID"] == self.VALID
        assert log.requests()[0]["request_id"] == self.VALID

    @pytest.mark.parametrize(
        "presented", [None, "short", "x" * 201, "x" * 30 + " y", "x" * 30 + "\u00e9", "<script>alert(1)</script>xxxx"]
    )
    def test_an_invalid_id_is_replaced(self, client: httpx.Client, log: Lines, presented: str | None) -> None:
        headers = {} if presented is None else {b"X-Request-ID": presented.encode()}

        answers = [client.get("/healthz", headers=headers) for _ in range(2)]

        ids = [answer.headers["X-Request-ID"] for answer in answers]
        assert all(len(made) == 32 and made.isalnum() for made in ids)
        assert len(set(ids)) == 2
        assert [line["request_id"] for line in log.requests(2)] == ids

    @pytest.mark.parametrize("presented", [None, VALID])
    def test_a_request_that_the_server_rejects_has_one(
        self, service: Service, log: Lines, presented: str | None
    ) -> None:
        headers = [] if presented is None else [f"X-Request-ID: {presented}"]
        with service.connect() as wire:
            wire.send(request("/recipe", b"", *headers, "Expect: a-miracle", length=5))
            response = wire.read()

        document = assert_rejected(response.status, response.body, "unmet-expectation")
        [line] = [json.loads(line) for line in log.text if "Rejected a request" in line]
        assert document["request_id"] == response.headers["X-Request-ID"] == line["request_id"]
        assert presented in {None, line["request_id"]}

    def test_all_log_lines_of_a_request_have_the_same_id(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(AWS_SECRET_ACCESS_KEY="not-the-secret-of-this-store")
        with lines_logged() as log, service.client() as client:
            answer = post(client, headers={"X-Request-ID": self.VALID})

        assert_problem(answer, 503, "storage-unavailable")
        ours = [line for line in log.events("object store failed") if line["operation"] != "HeadBucket"]  # at start
        assert {line["request_id"] for line in ours} == {self.VALID}
        assert backstage.nothing_is_left()


class TestLogLines:
    def test_a_line_describes_request_and_response(self, client: httpx.Client, log: Lines) -> None:
        answer = client.get("/recipe?limit=3")

        (line,) = log.requests()
        assert line.pop("duration_ms") >= 0
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "request",
            "method": "GET",
            "path": "/recipe",
            "status": 200,
            "bytes_in": 0,
            "bytes_out": len(answer.content),
            "client_address": "127.0.0.1",
            "request_id": answer.headers["X-Request-ID"],
            "level": "info",
            "logger": "recipe_api.request",
        }

    def test_a_line_has_the_code_of_a_problem(self, client: httpx.Client, log: Lines) -> None:
        client.post("/recipe", content=b"a photo", headers={"Content-Type": "image/jpeg"})

        (line,) = log.requests()
        assert (line["status"], line["problem"]) == (415, "not-multipart")

    def test_a_line_names_the_token_without_showing_it(self, start_service: Callable[..., Service]) -> None:
        service = start_service(API_TOKENS=f"tests:{API_TOKEN}")
        with lines_logged() as log, service.client(API_TOKEN) as client:
            client.get("/recipe")

        (line,) = log.requests()
        assert line["token"] == "tests"
        assert API_TOKEN not in "".join(log.text)

    def test_a_line_counts_the_bytes_of_the_body(self, client: httpx.Client, log: Lines) -> None:
        answer = post(client)

        (line,) = log.requests()
        assert line["bytes_in"] == len(answer.request.content)
        assert line["bytes_out"] == len(answer.content)

    def test_a_disconnected_client_is_logged(self, service: Service, log: Lines) -> None:
        with service.connect() as wire:
            wire.send(request("/recipe", recipe_form(b"\xff\xd8\xff")[:100], HEADER, length=1000))

        assert log.requests()[0]["status"] == 499
        assert log.events("unexpected error") == []


class TestSecurityHeaders:
    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/recipe", "/nowhere", "/static/nothing.css"])
    def test_every_document_has_them(self, client: httpx.Client, path: str) -> None:
        headers = client.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert len(headers.get_list("Content-Security-Policy")) == 1
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Server" not in headers

    @pytest.mark.parametrize("path", ["/", "/docs"])
    def test_pages_run_only_the_services_own_files(self, client: httpx.Client, path: str) -> None:
        policy = client.get(path).headers["Content-Security-Policy"]

        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "unsafe" not in policy

    @pytest.mark.parametrize("path", ["/static/page.css", "/static/page.js", "/swagger-ui/swagger-ui.css"])
    def test_scripts_and_styles_have_those_that_apply_to_them(self, client: httpx.Client, path: str) -> None:
        headers = client.get(path).headers

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Content-Security-Policy" not in headers

    @pytest.mark.parametrize("path", ["/openapi.json", "/recipe", "/nowhere"])
    def test_other_responses_run_no_scripts(self, client: httpx.Client, path: str) -> None:
        assert "script-src" not in client.get(path).headers["Content-Security-Policy"]


class TestCors:
    @pytest.fixture
    def frontend(self, start_service: Callable[..., Service]) -> Iterator[httpx.Client]:
        service = start_service(CORS_ORIGINS=f"{ORIGIN}, https://other.test", API_TOKENS=f"tests:{API_TOKEN}")
        with service.client(API_TOKEN) as client:
            client.headers["Origin"] = ORIGIN
            yield client

    @staticmethod
    def preflight(client: httpx.Client, method: str, headers: str, path: str = "/recipe") -> httpx.Response:
        del client.headers["Authorization"]  # a browser sends none with it
        wanted = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
        return client.options(path, headers=wanted)

    @pytest.mark.parametrize(
        ("method", "headers", "path"),
        [
            ("POST", "authorization,content-type", "/recipe"),
            ("POST", "idempotency-key,x-request-id", "/recipe"),
            ("POST", "x-requested-with,cache-control", "/recipe"),
            ("POST", "baggage,sentry-trace,traceparent,tracestate", "/recipe"),
            ("POST", "x-anything", "/recipe"),
            ("GET", "authorization", "/recipe"),
            ("PATCH", "authorization,content-type", f"/recipe/{NOBODYS}"),
            ("DELETE", "authorization", f"/recipe/{NOBODYS}"),
        ],
    )
    def test_a_front_end_may_call_every_route(
        self, frontend: httpx.Client, method: str, headers: str, path: str
    ) -> None:
        answer = self.preflight(frontend, method, headers, path)

        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert set(headers.split(",")) <= set(answer.headers["Access-Control-Allow-Headers"].split(","))
        assert "Origin" in answer.headers["Vary"]

    @pytest.mark.parametrize(
        ("origin", "method", "headers"),
        [
            ("https://evil.test", "POST", ""),
            (ORIGIN, "PUT", ""),
            ("https://evil.test", "POST", "x-any"),
            ("null", "POST", ""),
        ],
    )
    def test_a_preflight_for_anything_else_is_rejected(
        self, frontend: httpx.Client, origin: str, method: str, headers: str
    ) -> None:
        frontend.headers["Origin"] = origin

        assert self.preflight(frontend, method, headers).status_code == 400

    def test_scripts_can_read_the_response_and_its_headers(self, frontend: httpx.Client) -> None:
        answer = post(frontend)

        assert answer.status_code == 201
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"Location", "Retry-After", "WWW-Authenticate", "X-Request-ID", "Idempotency-Replayed"} <= exposed
        assert {"RateLimit", "RateLimit-Policy"} <= exposed
        assert "Access-Control-Allow-Credentials" not in answer.headers

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/recipe?limit=0", 422), (f"/recipe/{NOBODYS}", 404), ("/nowhere", 404), ("/recipe", 401), ("/recipe", 500)],
    )
    def test_scripts_can_read_errors(
        self, frontend: httpx.Client, backstage: Backstage, path: str, status: int
    ) -> None:
        if status == 401:
            del frontend.headers["Authorization"]
        with backstage.faulty_table() if status == 500 else nullcontext():
            answer = frontend.get(path)

        assert answer.status_code == status, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]

    def test_other_origins_can_read_nothing(self, frontend: httpx.Client) -> None:
        answer = frontend.get("/recipe", headers={"Origin": "https://evil.test"})

        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]

    def test_it_is_off_by_default(self, client: httpx.Client) -> None:
        answer = client.get("/recipe", headers={"Origin": ORIGIN})

        assert not [name for name in answer.headers if name.startswith("access-control")]

    def test_scripts_can_read_an_early_rejection(self, start_service: Callable[..., Service]) -> None:
        service = start_service(CORS_ORIGINS=ORIGIN)
        with service.connect() as wire:
            wire.send(request("/recipe", b"", HEADER, f"Origin: {ORIGIN}", length=10**12))
            answer = wire.read()

        assert_problem(answer, 413, "body-too-large")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN

    def test_scripts_can_read_that_the_store_is_unavailable(self, start_service: Callable[..., Service]) -> None:
        service = start_service(CORS_ORIGINS=ORIGIN, AWS_SECRET_ACCESS_KEY="not-the-secret-of-this-store")
        with service.client() as client:
            answer = post(client, headers={"Origin": ORIGIN})

        assert_problem(answer, 503, "storage-unavailable")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]

    @pytest.mark.parametrize("header", ["authorization", "x-requested-with", "traceparent"])
    def test_a_wildcard_allows_any_header(self, start_service: Callable[..., Service], header: str) -> None:
        with start_service(CORS_ORIGINS="*").client() as client:
            wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": header}
            answer = client.options("/recipe", headers={"Origin": "https://any.test", **wanted})

        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Headers"] == header  # not *, which never covers Authorization

    def test_a_wildcard_allows_any_origin(self, start_service: Callable[..., Service]) -> None:
        with start_service(CORS_ORIGINS="*").client() as client:
            answer = client.get("/recipe", headers={"Origin": "https://any.test"})

        assert answer.headers["Access-Control-Allow-Origin"] == "*"
