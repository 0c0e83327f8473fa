"""Which responses are compressed, and their headers for caches and clients."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from recipe_api.web import compression
from tests.support.calls import post, uploaded
from tests.support.service import Service
from tests.support.wire import request

PLAIN = {"Accept-Encoding": "identity"}
GZIP = {"Accept-Encoding": "gzip, deflate, br, zstd"}
STAYS_THE_SAME = ["/", "/docs", "/openapi.json", "/static/page.js", "/static/page.css", "/swagger-ui/swagger-ui.css"]


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


def raw(answer: httpx.Response) -> int:
    """Return the number of bytes of the body as sent, before decompression."""
    return answer.num_bytes_downloaded


class TestPagesAndFiles:
    @pytest.mark.parametrize("path", [*STAYS_THE_SAME, "/swagger-ui/swagger-ui-bundle.js"])
    def test_are_compressed_if_the_client_accepts_it(self, client: httpx.Client, path: str) -> None:
        plain, compressed = client.get(path, headers=PLAIN), client.get(path, headers=GZIP)

        assert "Content-Encoding" not in plain.headers
        assert compressed.headers["Content-Encoding"] == "gzip"
        assert compressed.content == plain.content
        assert int(compressed.headers["Content-Length"]) == raw(compressed) < raw(plain) * 0.7
        assert compressed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert compressed.headers["ETag"] != plain.headers["ETag"]
        for name in ("Content-Type", "Cache-Control", "Content-Security-Policy"):
            assert compressed.headers.get(name) == plain.headers.get(name)

    @pytest.mark.parametrize("path", STAYS_THE_SAME)
    @pytest.mark.parametrize("accepted", [PLAIN, GZIP], ids=["plain", "gzip"])
    def test_have_one_content_length(self, service: Service, path: str, accepted: dict[str, str]) -> None:
        """Node.js rejects a response with two, even if they are equal (RFC 9110 §8.6). httpx merges them."""
        with service.connect() as wire:
            wire.send(request(path, b"", f"Accept-Encoding: {accepted['Accept-Encoding']}", method="GET", length=None))
            answer = wire.read(method="GET")

        assert answer.headers.get_all("Content-Length") == [str(len(answer.body))]

    @pytest.mark.parametrize("path", STAYS_THE_SAME)
    @pytest.mark.parametrize("accepted", [PLAIN, GZIP], ids=["plain", "gzip"])
    def test_are_not_sent_to_a_client_that_has_them(
        self, client: httpx.Client, path: str, accepted: dict[str, str]
    ) -> None:
        first = client.get(path, headers=accepted)
        for known in (first.headers["ETag"], f"W/{first.headers['ETag']}", f'"other", {first.headers["ETag"]}'):
            again = client.get(path, headers={**accepted, "If-None-Match": known})

            assert (again.status_code, again.content) == (304, b"")
            assert "Content-Encoding" not in again.headers
            for name in ("ETag", "Vary", "Cache-Control"):
                assert again.headers[name] == first.headers[name]

    @pytest.mark.parametrize("path", ["/", "/docs"])
    def test_keep_their_policy_in_a_304(self, client: httpx.Client, path: str) -> None:
        first = client.get(path, headers=GZIP)

        again = client.get(path, headers={**GZIP, "If-None-Match": first.headers["ETag"]})

        assert again.status_code == 304
        assert again.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]

    @pytest.mark.parametrize("path", STAYS_THE_SAME)
    def test_are_sent_again_if_the_client_has_another_version(self, client: httpx.Client, path: str) -> None:
        compressed = client.get(path, headers=GZIP)

        answer = client.get(path, headers={**PLAIN, "If-None-Match": compressed.headers["ETag"]})

        assert answer.status_code == 200
        assert answer.content == compressed.content

    @pytest.mark.parametrize("path", STAYS_THE_SAME)
    def test_have_the_same_headers_for_head(self, client: httpx.Client, path: str) -> None:
        whole, head = client.get(path, headers=GZIP), client.head(path, headers=GZIP)

        ignored = {"date", "x-request-id"}
        assert {name: value for name, value in head.headers.items() if name not in ignored} == {
            name: value for name, value in whole.headers.items() if name not in ignored
        }
        assert head.content == b""

    def test_are_sent_in_ranges_of_the_uncompressed_file(self, client: httpx.Client) -> None:
        whole = client.get("/swagger-ui/swagger-ui.css", headers=PLAIN)

        part = client.get("/swagger-ui/swagger-ui.css", headers={**GZIP, "Range": "bytes=10-19"})

        assert (part.status_code, part.content) == (206, whole.content[10:20])
        assert "Content-Encoding" not in part.headers
        assert part.headers["ETag"] == whole.headers["ETag"]

    def test_are_compressed_once(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        first = {path: client.get(path, headers=GZIP).content for path in STAYS_THE_SAME}

        monkeypatch.setattr(gzip, "compress", None)

        assert {path: client.get(path, headers=GZIP).content for path in STAYS_THE_SAME} == first

    def test_images_are_not_compressed(self, client: httpx.Client) -> None:
        assert "Content-Encoding" not in client.get("/swagger-ui/favicon-32x32.png", headers=GZIP).headers

    async def test_are_compressed_again_after_a_change(self, tmp_path: Path) -> None:
        file = tmp_path / "page.js"
        transport = httpx.ASGITransport(compression.CompressedFiles(tmp_path, cache_control="no-cache"))
        async with httpx.AsyncClient(transport=transport, base_url="http://recipes.test") as client:
            for text in ("let soup;" * 500, "let salad;" * 500):
                file.write_text(text)

                assert (await client.get("/page.js", headers=GZIP)).text == text


class TestLists:
    def test_long_responses_are_compressed(self, service: Service, client: httpx.Client) -> None:
        for number in range(6):
            uploaded(service, label=f"No. {number}")

        plain, compressed = client.get("/recipe", headers=PLAIN), client.get("/recipe", headers=GZIP)

        assert compressed.headers["Content-Encoding"] == "gzip"
        assert compressed.json() == plain.json()
        assert int(compressed.headers["Content-Length"]) == raw(compressed) < raw(plain) / 2
        assert compressed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"

    def test_short_responses_are_not_compressed(self, client: httpx.Client) -> None:
        answer = client.get("/recipe", headers=GZIP)

        assert "Content-Encoding" not in answer.headers
        assert answer.headers["Vary"] == "Accept-Encoding"

    def test_very_long_responses_are_compressed(self, start_service: Callable[..., Service]) -> None:
        service = start_service(MAX_LABEL_BYTES="65536")
        labels = [letter * 50_000 for letter in "abc"]
        for label in labels:
            uploaded(service, label=label)

        with service.client() as client:
            answer = client.get("/recipe", headers=GZIP)

        assert raw(answer) < 10_000
        assert [item["label"] for item in answer.json()["items"]] == labels[::-1]


class TestSecrets:
    """The length of a compressed body would reveal a secret in it (BREACH)."""

    def test_the_response_to_an_upload_is_never_compressed(self, client: httpx.Client) -> None:
        long = "x" * 1000
        for accept in ("application/json", "text/html"):
            answer = post(client, label=long, headers={**GZIP, "Accept": accept})

            assert answer.status_code == 201
            assert "Content-Encoding" not in answer.headers
            assert raw(answer) == len(answer.content)

    def test_no_compressed_response_contains_a_manage_token(self, service: Service, client: httpx.Client) -> None:
        recipes = [uploaded(service, label=f"No. {number}") for number in range(6)]

        listed = client.get("/recipe", headers=GZIP)

        assert listed.headers["Content-Encoding"] == "gzip"
        assert not any(recipe["manage_token"] in json.dumps(listed.json()) for recipe in recipes)
