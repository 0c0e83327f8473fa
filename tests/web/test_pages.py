"""The pages: everything that they load exists, and comes from this host."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from recipe_api.app import create_app
from recipe_api.dev.stack import Stack
from recipe_api.settings import DEFAULT_PHOTO_TYPES, Settings
from recipe_api.web import pages
from tests.support.forms import jpeg
from tests.support.service import Service


class Page(HTMLParser):
    """The URLs that a page loads, and its first form."""

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


def shown(page: pages.Page) -> Response:
    """Return the page as a browser receives it."""
    return page.response(Request({"type": "http", "headers": []}))


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_loads_only_existing_files_of_this_host(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    page = Page(answer.text)

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.addresses
    assert page.inline == 0
    for address in page.addresses:
        assert re.match(r"(?!//|[a-z]+:)|data:", address), address
        if not address.startswith("data:") and address != "/recipe":
            assert client.get(urljoin(path, address)).status_code == 200, address


def test_the_docs_script_loads_the_services_own_document(client: httpx.Client) -> None:
    script = client.get("/static/docs.js")

    assert script.headers["Content-Type"].startswith("text/javascript")
    assert 'url: "openapi.json"' in script.text  # beside /docs, also below a ROOT_PATH
    assert "://" not in script.text


def test_the_form_uploads_without_scripts(client: httpx.Client) -> None:
    page = Page(client.get("/").text)

    assert page.form["method"] == "post"
    assert set(page.inputs) == {"label", "photo"}
    assert page.inputs["photo"]["type"] == "file"
    assert page.inputs["photo"]["accept"] == ",".join(DEFAULT_PHOTO_TYPES)
    action = page.form["action"]
    assert action is not None
    answer = client.post(action, data={"label": "Pancakes"}, files={"photo": ("p.jpg", jpeg(300))})
    assert answer.status_code == 201


def test_the_page_contains_the_limits_from_the_settings(start_service: Callable[..., Service]) -> None:
    service = start_service(PHOTO_TYPES="image/png,image/jpeg", MAX_UPLOAD_BYTES="1000", MAX_LABEL_BYTES="50")
    with service.client() as client:
        page = Page(client.get("/").text)

    assert page.inputs["photo"]["accept"] == "image/png,image/jpeg"
    assert page.inputs["label"]["maxlength"] == "50"
    assert page.form["data-max-bytes"] == "1000"


def test_the_page_offers_any_file_if_any_is_accepted(make_settings: Callable[..., Settings]) -> None:
    made = pages.Page(
        make_settings(PHOTO_TYPES="image/jpeg,application/octet-stream", PHOTO_METADATA="keep"), photo_base_urls=[]
    )

    assert Page(bytes(shown(made).body).decode()).inputs["photo"]["accept"] == ""


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://photos.example.com/of/cakes", "https://photos.example.com"),
        ("http://127.0.0.1:19037/recipes", "http://127.0.0.1:19037"),
        ("https://küche.example.com", "https://xn--kche-0ra.example.com"),
    ],
)
def test_the_page_may_load_photos_from_their_public_url(
    make_settings: Callable[..., Settings], address: str, origin: str
) -> None:
    made = pages.Page(make_settings(), photo_base_urls=[address, address])

    assert shown(made).headers["Content-Security-Policy"].endswith(f"; img-src 'self' data: blob: {origin}")


def test_the_page_may_load_photos_from_before_public_base_url_was_set(
    make_settings: Callable[..., Settings], stack: Stack
) -> None:
    app = create_app(make_settings(PUBLIC_BASE_URL="https://photos.example.com"))

    policy = shown(app.state.page).headers["Content-Security-Policy"]

    assert f" {stack.s3_endpoint_url} https://photos.example.com" in policy


def test_the_page_may_load_renditions_from_another_service(make_settings: Callable[..., Settings]) -> None:
    app = create_app(make_settings(RENDITION_URL="https://img.example.com:8443/w={size},q=80/{key}"))

    policy = shown(app.state.page).headers["Content-Security-Policy"]

    assert policy.endswith(" https://img.example.com:8443")


def test_browsers_revalidate_the_services_own_files(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/static/page.js", "/static/page.css"):
        assert client.get(path).headers["Cache-Control"] == "no-cache"


def test_unchanged_files_are_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/static/page.css")

    again = client.get("/static/page.css", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304
    assert again.content == b""


def test_browsers_cache_swagger_ui_for_a_day(client: httpx.Client) -> None:
    assert client.get("/swagger-ui/swagger-ui.css").headers["Cache-Control"] == "max-age=86400"
