"""A browser that submits the form without scripts gets a page, with the status and headers of the JSON response."""

import html
import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.support.calls import post
from tests.support.forms import CONTENT_TYPE, HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.problems import assert_problem
from tests.support.samples import sample
from tests.support.service import API_TOKEN, Service
from tests.support.traces import Backstage
from tests.support.wire import request

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
HTML = {"Accept": BROWSER}
NASTY = """<script>alert(1)</script> & "quoted" 'too' </h2>"""


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def shown(answer: httpx.Response) -> str:
    """Return the text of a page without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def assert_page(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:")
    assert "script-src" not in policy
    assert "<script" not in answer.text
    assert 'href="/"' in answer.text


class TestStored:
    def test_the_page_shows_the_photo_its_label_url_and_token(self, client: httpx.Client, backstage: Backstage) -> None:
        answer = post(client, headers=HTML)
        recipe = client.get(answer.headers["Location"]).json()

        assert_page(answer, 201)
        assert f'<img src="{recipe["location"]}" alt="Pancakes">' in answer.text
        assert f"Anyone can see the photo at {recipe['location']}" in shown(answer)
        assert "pancakes.jpg" in shown(answer)
        assert answer.headers["Location"] in shown(answer)
        photos = recipe["location"].rpartition("/")[0].rpartition("/")[0]
        assert f"img-src data: 'self' {photos};" in answer.headers["Content-Security-Policy"]
        assert len(backstage.objects()) == len(backstage.rows()) == 1

    def test_the_token_on_the_page_manages_the_recipe(self, client: httpx.Client) -> None:
        answer = post(client, headers=HTML)
        [token] = re.findall(r"<code>([A-Za-z0-9_-]{43})</code>", answer.text)

        deleted = client.delete(answer.headers["Location"], headers={"Authorization": f"Bearer {token}"})

        assert deleted.status_code == 204

    def test_nothing_that_the_client_sent_becomes_markup(self, client: httpx.Client) -> None:
        files = {"photo": (NASTY.replace("/", "").replace('"', "'"), jpeg(300), "image/jpeg")}
        answer = client.post("/recipe", data={"label": NASTY}, files=files, headers=HTML)

        assert_page(answer, 201)
        assert answer.text.count("<h2") == 2
        assert answer.text.count(html.escape(NASTY)) == 2
        assert answer.text.count(html.escape("<script>alert(1)")) == 3

    def test_a_photo_that_browsers_cannot_display_is_only_linked(self, client: httpx.Client) -> None:
        answer = post(client, photo=sample("hopper.heif"), headers=HTML)

        assert_page(answer, 201)
        assert "<img" not in answer.text
        assert ".heic</a>" in answer.text

    def test_a_replayed_upload_gets_the_same_page(self, client: httpx.Client) -> None:
        headers = {**HTML, "Idempotency-Key": key_of("breakfast")}
        first, second = post(client, headers=headers), post(client, headers=headers)

        assert second.text == first.text
        assert second.headers["Idempotency-Replayed"] == "true"

    def test_its_links_are_below_the_root_path(self, start_service: Callable[..., Service]) -> None:
        with start_service(ROOT_PATH="/api").client() as client:
            answer = post(client, headers=HTML)

        assert all(link.startswith(("/api/", "http", "data:")) for link in re.findall(r'href="([^"]*)"', answer.text))


class TestRefused:
    def test_the_page_explains_the_problem(self, client: httpx.Client, backstage: Backstage) -> None:
        answer = post(client, photo=b"GIF? No.", headers=HTML)
        expected = assert_problem(post(client, photo=b"GIF? No."), 415, "unsupported-photo", field="photo")

        assert_page(answer, 415)
        assert expected["title"] in shown(answer)
        assert expected["detail"] in shown(answer)
        assert answer.headers["X-Request-ID"] in shown(answer)
        assert 'href="/problems/unsupported-photo"' in answer.text
        assert backstage.nothing_is_left()

    def test_an_invalid_header_gets_a_page(self, client: httpx.Client) -> None:
        assert_page(post(client, headers={**HTML, "Idempotency-Key": "x" * 300}), 422)

    def test_a_body_that_is_too_large_gets_a_page(self, start_service: Callable[..., Service]) -> None:
        with start_service(MAX_UPLOAD_BYTES="1000").client() as client:
            answer = post(client, photo=jpeg(200_000), headers=HTML)

        assert_page(answer, 413)

    def test_the_page_explains_a_missing_token(self, start_service: Callable[..., Service]) -> None:
        with start_service(API_TOKENS=f"tests:{API_TOKEN}").client() as client:
            answer = post(client, headers=HTML)

        assert_page(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "Turn on JavaScript" in shown(answer)

    def test_the_page_of_a_full_service_says_when_to_try_again(
        self, start_service: Callable[..., Service], backstage: Backstage
    ) -> None:
        service = start_service(MAX_CONCURRENT_UPLOADS="1")
        body = recipe_form(jpeg(300))
        with service.connect() as first, service.client() as client:
            first.send(request("/recipe", body[:-10], HEADER, "Expect: 100-continue", length=len(body)))
            first.read_exactly(len(b"HTTP/1.1 100 Continue\r\n\r\n"))
            answer = post(client, headers=HTML)

        assert_page(answer, 503)
        assert f"Wait {answer.headers['Retry-After']} seconds" in shown(answer)
        assert backstage.nothing_is_left()

    def test_field_names_do_not_become_markup(self, client: httpx.Client) -> None:
        files = {"<b>more</b>": ("p.jpg", jpeg(300))}
        answer = client.post("/recipe", data={"label": "Pancakes"}, files=files, headers=HTML)

        assert_page(answer, 422)
        assert "<b>" not in answer.text


class TestJson:
    """Clients without a preference get JSON."""

    @pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/plain, */*"])
    def test_api_clients_get_json(self, service: Service, accept: str | None) -> None:
        lines = [HEADER] if accept is None else [HEADER, f"Accept: {accept}"]
        for body, status in ((recipe_form(jpeg(300)), 201), (recipe_form(b"none"), 415)):
            with service.connect() as wire:
                wire.send(request("/recipe", body, *lines))
                answer = wire.read()

            assert answer.status == status
            assert "json" in answer.headers["Content-Type"]
            assert json.loads(answer.body)
            assert answer.headers["Vary"] == "Accept"

    def test_other_requests_get_json(self, client: httpx.Client) -> None:
        for answer in (
            client.get("/recipe", headers=HTML),
            client.get("/recipe?limit=0", headers=HTML),
            client.post("/nowhere", headers=HTML, content=b"", params={}),
            client.put("/recipe", headers={**HTML, "Content-Type": CONTENT_TYPE}),
        ):
            assert "json" in answer.headers["Content-Type"]
            assert "Accept" not in answer.headers.get("Vary", "").split(", ")
