"""What people see in a browser: nothing of it comes from another host, and all of it is there."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import httpx
import pytest

from recipe_api.app import create_app
from recipe_api.dev.stack import Stack
from recipe_api.settings import DEFAULT_PHOTO_TYPES, Settings
from recipe_api.web import pages
from tests.support.forms import jpeg
from tests.support.service import Service


class Page(HTMLParser):
    """The addresses that a page asks for, and its first form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.form: dict[str, str | None] = {}
        self.inputs: dict[str | None, dict[str, str | None]] = {}
        self.is_in_form = False
        self.inline = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action"} and value]
        self.inline += tag == "style" or (tag == "script" and "src" not in attributes)
        self.inline += any(name == "style" or name.startswith("on") for name in attributes)
        if tag == "form":
            self.form = self.form or attributes
            self.is_in_form = self.form is attributes
        if tag == "input" and self.is_in_form:
            self.inputs[attributes["name"]] = attributes


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_asks_no_other_host_and_all_it_asks_for_is_there(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    page = Page(answer.text)

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.addresses
    assert page.inline == 0
    for address in page.addresses:
        assert re.match(r"/(?!/)|data:|#", address), address
        if address.startswith("/") and address != "/recipe":
            assert client.get(address).status_code == 200, address


def test_the_docs_script_asks_for_our_own_document(client: httpx.Client) -> None:
    script = client.get("/static/docs.js")

    assert script.headers["Content-Type"].startswith("text/javascript")
    assert 'url: "/openapi.json"' in script.text
    assert "://" not in script.text


def test_the_form_uploads_as_it_stands(client: httpx.Client) -> None:
    page = Page(client.get("/").text)

    assert page.form["method"] == "post"
    assert set(page.inputs) == {"label", "photo"}
    assert page.inputs["photo"]["type"] == "file"
    assert page.inputs["photo"]["accept"] == ",".join(DEFAULT_PHOTO_TYPES)
    action = page.form["action"]
    assert action is not None
    answer = client.post(action, data={"label": "Pancakes"}, files={"photo": ("p.jpg", jpeg(300))})
    assert answer.status_code == 201


def test_the_page_says_what_the_settings_take(start_service: Callable[..., Service]) -> None:
    service = start_service(PHOTO_TYPES="image/png,image/jpeg", MAX_UPLOAD_BYTES="1000", MAX_LABEL_BYTES="50")
    with service.client() as client:
        page = Page(client.get("/").text)

    assert page.inputs["photo"]["accept"] == "image/png,image/jpeg"
    assert page.inputs["label"]["maxlength"] == "50"
    assert page.form["data-max-bytes"] == "1000"


def test_the_page_offers_any_file_where_any_is_taken(make_settings: Callable[..., Settings]) -> None:
    made = pages.Page(make_settings(PHOTO_TYPES="image/jpeg,application/octet-stream"), photos_at=[])

    assert Page(bytes(made.response().body).decode()).inputs["photo"]["accept"] == ""


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://photos.example.com/of/cakes", "https://photos.example.com"),
        ("http://127.0.0.1:19037/recipes", "http://127.0.0.1:19037"),
        ("https://küche.example.com", "https://xn--kche-0ra.example.com"),
    ],
)
def test_the_page_may_show_photos_from_where_they_are_public(
    make_settings: Callable[..., Settings], address: str, origin: str
) -> None:
    made = pages.Page(make_settings(), photos_at=[address, address])

    assert made.response().headers["Content-Security-Policy"].endswith(f"; img-src 'self' data: blob: {origin}")


def test_photos_from_before_the_public_address_was_set_are_shown_too(
    make_settings: Callable[..., Settings], stack: Stack
) -> None:
    app = create_app(make_settings(PUBLIC_BASE_URL="https://photos.example.com"))

    policy = app.state.page.response().headers["Content-Security-Policy"]

    assert f" {stack.s3_endpoint_url} https://photos.example.com" in policy


def test_our_own_files_are_asked_for_again_after_a_release(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/static/page.js", "/static/page.css"):
        assert client.get(path).headers["Cache-Control"] == "no-cache"


def test_our_own_files_are_not_sent_twice(client: httpx.Client) -> None:
    first = client.get("/static/page.css")

    again = client.get("/static/page.css", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304
    assert again.content == b""


def test_swagger_ui_is_kept_by_browsers_for_a_day(client: httpx.Client) -> None:
    assert client.get("/swagger-ui/swagger-ui.css").headers["Cache-Control"] == "max-age=86400"
