"""What people see in a browser: nothing of it comes from another host, and all of it is there."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest

from recipe_api.settings import DEFAULT_PHOTO_TYPES
from tests.support.forms import jpeg
from tests.support.service import Service


class Page(HTMLParser):
    """The addresses that a page asks for, and its form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.form: dict[str, str | None] = {}
        self.inputs: dict[str | None, dict[str, str | None]] = {}
        self.inline_scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action"} and value]
        self.inline_scripts += tag == "script" and "src" not in attributes
        self.inline_scripts += any(name.startswith("on") for name in attributes)
        if tag == "form":
            self.form = attributes
        if tag == "input":
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
    assert page.inline_scripts == 0
    for address in page.addresses:
        assert re.match(r"/(?!/)|data:,$", address), address
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


def test_our_own_files_are_not_sent_twice(client: httpx.Client) -> None:
    first = client.get("/static/form.css")

    again = client.get("/static/form.css", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304
    assert again.content == b""


def test_swagger_ui_is_kept_by_browsers_for_a_day(client: httpx.Client) -> None:
    assert client.get("/swagger-ui/swagger-ui.css").headers["Cache-Control"] == "max-age=86400"
