"""Renditions end to end: made after the upload, linked from the first response on, and deleted with their photo."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from recipe_api.database.renderings import MAX_ATTEMPTS
from tests.support.calls import post
from tests.support.problems import assert_problem
from tests.support.recipes import fetch
from tests.support.samples import sample
from tests.support.service import Service
from tests.support.traces import Backstage, eventually


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PHOTO = sample("hopper.jpg")  # 128 pixels wide and high
HUGE = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)) + chunk(b"IDAT")
"""A photo that would need gigabytes to decode."""


@pytest.fixture
def service(start_service: Callable[..., Service], http_protocol: str) -> Service:
    return start_service(RENDITIONS="64,100,320", HTTP_PROTOCOL=http_protocol)


def follow(client: httpx.Client, location: str) -> httpx.Response:
    """Fetch a rendition by its link, through a redirect of the service if it has one."""
    response = client.get(location)
    return fetch(response.headers["Location"]) if response.status_code == 302 else response


def made(client: httpx.Client, recipe: dict[str, Any]) -> dict[str, Any]:
    """Wait until the renditions of a recipe have been made, and return it."""
    assert eventually(lambda: client.get(f"/recipe/{recipe['id']}").json()["placeholder"] is not None)
    found: dict[str, Any] = client.get(f"/recipe/{recipe['id']}").json()
    return found


def test_every_link_of_the_first_response_leads_to_a_rendition(service: Service) -> None:
    with service.client() as client:
        recipe = post(client, photo=PHOTO).json()
        renditions = recipe["renditions"]
        images = [Image.open(io.BytesIO(follow(client, each["location"]).content)) for each in renditions]

    assert [(each["width"], each["height"]) for each in renditions] == [(64, 64), (100, 100), (128, 128)]
    assert [image.size for image in images] == [(64, 64), (100, 100), (128, 128)]
    assert {image.format for image in images} == {"WEBP"}
    assert {each["content_type"] for each in renditions} == {"image/webp"}
    assert [each["location"] for each in renditions] == [f"/recipe/{recipe['id']}/photo/{n}" for n in (64, 100, 320)]


def test_they_are_made_without_being_asked_for_and_get_public_links(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        recipe = made(client, post(client, photo=PHOTO).json())
        locations = [each["location"] for each in recipe["renditions"]]

    stem = recipe["key"].removesuffix(".jpg")
    assert sorted(backstage.objects()) == sorted([recipe["key"], *(f"{stem}_{size}.webp" for size in (64, 100, 320))])
    assert locations == [recipe["location"].replace(".jpg", f"_{size}.webp") for size in (64, 100, 320)]
    rendition = fetch(locations[0])
    assert rendition.headers["Content-Type"] == "image/webp"
    assert rendition.headers["Cache-Control"] == fetch(recipe["location"]).headers["Cache-Control"]


def test_a_link_from_before_a_rendition_was_made_still_works_afterwards(service: Service) -> None:
    with service.client() as client:
        first = post(client, photo=PHOTO).json()
        recipe = made(client, first)
        redirect = client.get(first["renditions"][0]["location"])

    assert redirect.status_code == 302
    assert redirect.headers["Location"] == recipe["renditions"][0]["location"]
    assert "max-age" in redirect.headers["Cache-Control"]
    assert redirect.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_they_are_deleted_with_their_photo(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        recipe = post(client, photo=PHOTO).json()
        made(client, recipe)
        deletion = client.delete(
            f"/recipe/{recipe['id']}", headers={"Authorization": f"Bearer {recipe['manage_token']}"}
        )
        afterwards = client.get(recipe["renditions"][0]["location"])

    assert deletion.status_code == 204
    assert_problem(afterwards, 404, "recipe-not-found")
    assert backstage.nothing_is_left()


def test_a_photo_that_is_too_large_to_decode_is_given_up_and_shown_itself(
    service: Service, backstage: Backstage
) -> None:
    with service.client() as client:
        recipe = post(client, photo=HUGE).json()
        redirect = client.get(recipe["renditions"][0]["location"])

    assert redirect.status_code == 302
    assert redirect.headers["Location"] == recipe["location"]
    assert redirect.headers["Cache-Control"] == "no-store"
    assert [found["attempts"] for found in backstage.sql("SELECT attempts FROM rendering")] == [MAX_ATTEMPTS]
    assert backstage.objects() == [recipe["key"]]


def test_a_size_that_is_not_offered_leads_to_the_next_larger_one(service: Service) -> None:
    with service.client() as client:
        recipe = made(client, post(client, photo=PHOTO).json())
        paths = [f"/recipe/{recipe['id']}/photo/{size}" for size in (1, 65, 2000)]
        targets = [client.get(path).headers["Location"] for path in paths]

    small, medium, large = (each["location"] for each in recipe["renditions"])
    assert targets == [small, medium, large]


@pytest.mark.parametrize("size", ["0", "4097", "-1", "large", "1.5"])
def test_an_invalid_size_is_rejected(service: Service, size: str) -> None:
    with service.client() as client:
        recipe = post(client, photo=PHOTO).json()
        assert_problem(client.get(f"/recipe/{recipe['id']}/photo/{size}"), 422, "invalid-parameter", field="size")


def test_without_renditions_every_size_leads_to_the_photo(start_service: Callable[..., Service]) -> None:
    with start_service(RENDITIONS="").client() as client:
        recipe = post(client, photo=PHOTO).json()
        redirect = client.get(f"/recipe/{recipe['id']}/photo/320")

    assert (recipe["renditions"], recipe["placeholder"]) == ([], None)
    assert redirect.headers["Location"] == recipe["location"]


def test_another_service_can_make_them(start_service: Callable[..., Service], backstage: Backstage) -> None:
    service = start_service(RENDITIONS="64,320", RENDITION_URL="https://img.test/{size}/{key}")
    with service.client() as client:
        recipe = post(client, photo=PHOTO).json()
        redirect = client.get(f"/recipe/{recipe['id']}/photo/64")

    assert [each["location"] for each in recipe["renditions"]] == [
        f"https://img.test/{size}/{recipe['key']}" for size in (64, 320)
    ]
    assert {each["content_type"] for each in recipe["renditions"]} == {None}
    assert redirect.headers["Location"] == f"https://img.test/64/{recipe['key']}"
    assert backstage.objects() == [recipe["key"]]
