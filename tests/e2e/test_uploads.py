"""Accepted uploads: the stored object, the row and the response. Over real sockets, with real services."""

import base64
import hmac
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recipe_api.settings import PART_SIZE
from recipe_api.units import MIB
from tests.support.examples import examples
from tests.support.forms import (
    CONTENT_TYPE,
    HEADER,
    JPEG_END,
    Part,
    file_part,
    form,
    jpeg,
    recipe_form,
    text_part,
)
from tests.support.recipes import assert_stored, fetch
from tests.support.samples import sample, without_metadata
from tests.support.service import HTTP_PROTOCOLS, Service
from tests.support.traces import Backstage
from tests.support.wire import Response, Wire, chunked, request

SMALL = jpeg(3000)
LABEL = text_part("Pancakes")


def post(service: Service, body: bytes) -> httpx.Response:
    with service.client() as client:
        return client.post("/recipe", content=body, headers={"Content-Type": CONTENT_TYPE})


def created(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    recipe: dict[str, Any] = response.json()
    return recipe


def test_the_response_describes_the_stored_recipe(service: Service, backstage: Backstage) -> None:
    response = post(service, recipe_form(SMALL, label="Crêpes 🥞"))

    recipe = created(response)
    assert list(recipe) == [
        *("id", "label", "key", "location", "content_type", "size", "etag", "original_name", "created_at"),
        *("width", "height", "metadata", "renditions", "placeholder", "manage_token"),
    ]
    assert (recipe["width"], recipe["height"], recipe["metadata"]) == (768, 1024, "removed")
    assert recipe["label"] == "Crêpes 🥞"
    assert recipe["location"] == f"{service.settings.s3_endpoint_url}/recipes/{recipe['key']}"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"  # it carries a token
    assert response.headers["Location"] == f"/recipe/{recipe['id']}"
    assert UUID(recipe["id"]).version == 4
    assert_stored(recipe, SMALL, backstage)


def test_a_setting_controls_how_long_a_shared_cache_keeps_a_photo(start_service: Callable[..., Service]) -> None:
    recipe = created(post(start_service(SHARED_CACHE_SECONDS="0"), recipe_form(SMALL)))

    found = fetch(recipe["location"]).headers["Cache-Control"]
    assert found == "public, max-age=31536000, s-maxage=0, immutable"


@pytest.mark.parametrize(
    "size",
    [50, 255, 256, 257, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 3 * PART_SIZE + 12_345],
    ids=lambda size: f"{size} bytes",
)
@pytest.mark.parametrize("label_first", [True, False], ids=["label first", "photo first"])
def test_a_photo_of_any_size_arrives_byte_for_byte(
    service: Service, backstage: Backstage, size: int, *, label_first: bool
) -> None:
    photo = jpeg(size)
    parts = [LABEL, file_part(photo)]

    recipe = created(post(service, form(*(parts if label_first else reversed(parts)))))

    assert_stored(recipe, photo, backstage)
    # The entity tag of a multipart upload ends with a dash and the number of parts.
    assert recipe["etag"].partition("-")[2] == ("" if size <= PART_SIZE else str(-(-size // PART_SIZE)))
    assert len(backstage.objects()) == len(backstage.rows()) == 1


@pytest.mark.parametrize("label_first", [True, False], ids=["label first", "photo first"])
def test_unknown_fields_are_ignored(service: Service, backstage: Backstage, *, label_first: bool) -> None:
    more = [text_part("x" * 2000, name="comment"), text_part("", name="submit"), text_part("again", name="comment")]
    parts = [LABEL, file_part(SMALL)]
    ordered = parts if label_first else parts[::-1]

    recipe = created(post(service, form(more[0], ordered[0], more[1], ordered[1], more[2])))

    assert recipe["label"] == "Pancakes"
    assert_stored(recipe, SMALL, backstage)


@pytest.mark.parametrize(
    ("photo", "content_type", "extension"),
    [
        (SMALL, "image/jpeg", "jpg"),
        (sample("pil136.png"), "image/png", "png"),
        (sample("hopper.gif"), "image/gif", "gif"),
        (sample("hopper.webp"), "image/webp", "webp"),
        (sample("hopper.avif"), "image/avif", "avif"),
        (sample("hopper.heif"), "image/heic", "heic"),
        (sample("hopper.heif").replace(b"heic", b"mif1", 2), "image/heif", "heif"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_type_of_a_photo_follows_from_its_bytes(
    service: Service, backstage: Backstage, photo: bytes, content_type: str, extension: str
) -> None:
    body = form(LABEL, file_part(photo, filename="page.html", content_type="text/html"))

    recipe = created(post(service, body))

    assert recipe["content_type"] == content_type
    assert recipe["key"].endswith(f".{extension}")
    assert_stored(recipe, without_metadata(photo), backstage, name="page.html")


def test_any_other_type_that_a_setting_accepts_is_served_as_an_attachment(
    start_service: Callable[..., Service], backstage: Backstage
) -> None:
    service = start_service(PHOTO_TYPES="image/jpeg,application/octet-stream", PHOTO_METADATA="keep")
    page = b"<!doctype html><script>alert(1)</script>"

    recipe = created(post(service, form(text_part("x"), file_part(page, filename="x.html", content_type="text/html"))))

    assert recipe["content_type"] == "application/octet-stream"
    assert recipe["key"].endswith(".bin")
    assert fetch(recipe["location"]).headers["Content-Disposition"].startswith("attachment;")
    assert_stored(recipe, page, backstage, name="x.html")


@pytest.mark.parametrize(
    ("filename", "name", "disposition"),
    [
        ("pancakes.jpg", "pancakes.jpg", "inline; filename=\"pancakes.jpg\"; filename*=UTF-8''pancakes.jpg"),
        ("crêpes 🥞.jpg", None, "inline; filename=\"cr_pes _.jpg\"; filename*=UTF-8''cr%C3%AApes%20%F0%9F%A5%9E.jpg"),
        (r"C:\fakepath\pan.jpg", "pan.jpg", "inline; filename=\"pan.jpg\"; filename*=UTF-8''pan.jpg"),
        ("../../etc/pan.jpg", "pan.jpg", "inline; filename=\"pan.jpg\"; filename*=UTF-8''pan.jpg"),
        ("a%22b;c.jpg", None, "inline; filename=\"a_22b_c.jpg\"; filename*=UTF-8''a%2522b%3Bc.jpg"),
        ("invoice.html", "invoice.html", "inline; filename=\"invoice.jpg\"; filename*=UTF-8''invoice.jpg"),
        ("..", "photo.jpg", "inline; filename=\"photo.jpg\"; filename*=UTF-8''photo.jpg"),
    ],
)
def test_the_file_name_is_kept_without_folders_and_served_again(
    service: Service, backstage: Backstage, filename: str, name: str | None, disposition: str
) -> None:
    recipe = created(post(service, recipe_form(SMALL, filename=filename)))

    assert_stored(recipe, SMALL, backstage, name=filename if name is None else name)
    assert fetch(recipe["location"]).headers["Content-Disposition"] == disposition


def test_the_file_name_may_be_encoded_as_by_older_clients(service: Service, backstage: Backstage) -> None:
    # RFC 7578 forbids this form, but urllib3 before 2.0 sends no other for such a name.
    photo = Part(header=b"; name=\"photo\"; filename*=utf-8''cr%C3%AApes.jpg", data=SMALL)

    assert_stored(created(post(service, form(LABEL, photo))), SMALL, backstage, name="crêpes.jpg")


def test_the_key_begins_with_the_prefix(start_service: Callable[..., Service], backstage: Backstage) -> None:
    service = start_service(S3_KEY_PREFIX="public/photos/", PUBLIC_BASE_URL="https://cdn.test/")

    recipe = created(post(service, recipe_form(SMALL)))

    assert recipe["key"].startswith("public/photos/")
    assert backstage.objects() == [recipe["key"]]
    assert recipe["location"] == f"https://cdn.test/{recipe['key']}"


def test_the_manage_token_depends_only_on_the_id_and_the_secret_key(service: Service) -> None:
    secret = service.settings.secret_keys[0].get_secret_value().encode()

    recipe = created(post(service, recipe_form(SMALL)))

    mac = hmac.digest(secret, b"recipe_api manage token v1\0" + UUID(recipe["id"]).bytes, sha256)
    assert recipe["manage_token"] == base64.urlsafe_b64encode(mac).decode().rstrip("=")


def test_a_manage_token_is_valid_after_a_restart(service: Service, start_service: Callable[..., Service]) -> None:
    recipe = created(post(service, recipe_form(SMALL)))

    with start_service().client(recipe["manage_token"]) as client:
        assert client.delete(f"/recipe/{recipe['id']}").status_code == 204


def test_a_body_may_be_chunked(service: Service, backstage: Backstage) -> None:
    photo = jpeg(PART_SIZE + 100_000)
    body = recipe_form(photo)
    pieces = [body[at : at + 70_001] for at in range(0, len(body), 70_001)]

    with service.connect() as wire:
        wire.send(request("/recipe", b"", HEADER, "Transfer-Encoding: chunked", length=None) + chunked(*pieces))
        response = wire.read()

    assert response.status == 201, response.body
    assert_stored(response.json(), photo, backstage)


def test_a_client_that_waits_gets_100_continue(service: Service, backstage: Backstage) -> None:
    body = recipe_form(SMALL)
    proceed = b"HTTP/1.1 100 Continue\r\n\r\n"

    with service.connect() as wire:
        wire.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=len(body)))
        assert wire.read_exactly(len(proceed)) == proceed
        wire.send(body)
        response = wire.read()

    assert response.status == 201, response.body
    assert_stored(response.json(), SMALL, backstage)


def test_a_client_of_http_1_0_is_served_and_disconnected(service: Service, backstage: Backstage) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", recipe_form(SMALL), HEADER, version="1.0"))
        response = wire.read()
        assert wire.is_closed()

    assert response.status == 201, response.body
    assert response.headers["Transfer-Encoding"] is None
    assert_stored(response.json(), SMALL, backstage)


def test_a_connection_can_be_reused_after_an_upload(service: Service, backstage: Backstage) -> None:
    with service.connect() as wire:
        recipes = [upload_on(wire).json() for _ in range(3)]

    for recipe in recipes:
        assert_stored(recipe, SMALL, backstage)
    assert len(backstage.objects()) == 3


def test_a_connection_can_be_reused_after_a_rejection_whose_body_was_read(
    service: Service, backstage: Backstage
) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", form(file_part(SMALL)), HEADER))
        assert wire.read().status == 422
        recipe = upload_on(wire).json()

    assert_stored(recipe, SMALL, backstage)
    assert len(backstage.objects()) == 1


def test_pipelined_requests_get_their_responses_in_order(service: Service, backstage: Backstage) -> None:
    with service.connect() as wire, wire.socket.makefile("rb") as responses:
        one = request("/recipe", recipe_form(SMALL, label="one"), HEADER)
        wire.send(one + request("/recipe", recipe_form(SMALL, label="two"), HEADER, "Connection: close"))
        everything = responses.read()

    assert everything.count(b"HTTP/1.1 201 Created\r\n") == 2
    assert everything.index(b'"label":"one"') < everything.index(b'"label":"two"')
    assert sorted(row["label"] for row in backstage.rows()) == ["one", "two"]


def test_a_preamble_and_an_epilogue_are_ignored(service: Service, backstage: Backstage) -> None:
    body = recipe_form(SMALL) + b"An epilogue.\r\n" * 100

    assert_stored(created(post(service, body)), SMALL, backstage)


def test_two_uploads_of_one_photo_are_two_recipes(service: Service, backstage: Backstage) -> None:
    recipes = [created(post(service, recipe_form(SMALL))) for _ in range(2)]

    assert recipes[0]["id"] != recipes[1]["id"]
    assert recipes[0]["key"] != recipes[1]["key"]
    assert len(backstage.objects()) == len(backstage.rows()) == 2


def test_twenty_concurrent_uploads_all_arrive_whole(service: Service, backstage: Backstage) -> None:
    photos = [jpeg(size, seed=number) for number, size in enumerate([50_000] * 16 + [9 * MIB] * 4)]

    def upload(photo: bytes) -> dict[str, Any]:
        return created(post(service, recipe_form(photo)))

    with ThreadPoolExecutor(len(photos)) as clients:
        recipes = list(clients.map(upload, photos))

    for recipe, photo in zip(recipes, photos, strict=True):
        assert fetch(recipe["location"]).content == photo
    assert backstage.objects() == sorted(recipe["key"] for recipe in recipes)
    assert {row["id"] for row in backstage.rows()} == {UUID(recipe["id"]) for recipe in recipes}
    assert backstage.multipart_uploads() == []


@pytest.fixture(scope="module", params=HTTP_PROTOCOLS)
def wire(request: pytest.FixtureRequest, shared_services: Callable[[str], Service]) -> Iterator[Wire]:
    with shared_services(request.param).connect() as connected:
        yield connected


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.too_slow])
@given(
    cuts=st.sets(st.integers(1, 700), max_size=12),
    photo_first=st.booleans(),
    filename=st.sampled_from(["pancakes.jpg", "crêpes 🥞.jpg"]),
)
@pytest.mark.slow
def test_every_split_of_a_body_gives_the_same_record(
    wire: Wire, shared_backstage: Backstage, cuts: set[int], *, photo_first: bool, filename: str
) -> None:
    photo = jpeg(300).removesuffix(JPEG_END) + b"\r\n--more\r"  # cut off
    parts: list[Part] = [text_part("Crêpes"), file_part(photo, filename=filename)]
    body = form(*(reversed(parts) if photo_first else parts))
    borders = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[start:end] for start, end in pairwise(borders)]

    wire.send(request("/recipe", b"", HEADER, length=len(body)), *pieces)
    response = wire.read()

    assert response.status == 201, response.body
    assert response.json()["label"] == "Crêpes"
    assert_stored(response.json(), photo, shared_backstage, name=filename)


def upload_on(wire: Wire) -> Response:
    wire.send(request("/recipe", recipe_form(SMALL), HEADER))
    response = wire.read()
    assert response.status == 201, response.body
    assert response.headers["Connection"] is None
    return response
