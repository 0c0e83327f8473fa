"""Real photographs, including damaged and hostile ones: what is stored of them, and which are rejected."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageOps, ImageSequence

from tests.support.calls import post
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored, fetch
from tests.support.samples import SAMPLES, sample, without_metadata
from tests.support.service import Service
from tests.support.traces import Backstage

ACCEPTED = {
    ".jpg": "image/jpeg",
    ".mpo": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heif": "image/heic",
}
LET_IN = {".tif": "image/tiff", ".bmp": "image/bmp"}
MALFORMED = {
    "broken.png": "does not begin with its header",
    "zero_width.gif": "ends before its image, or has none",
}
"""Why these photos are rejected."""
GPS = 0x8825


def photos(kinds: dict[str, str]) -> list[Path]:
    return sorted(path for path in SAMPLES.iterdir() if path.suffix in kinds and path.name not in MALFORMED)


@pytest.mark.parametrize("path", photos(ACCEPTED), ids=lambda path: path.name)
def test_a_photo_is_stored_without_its_metadata(service: Service, backstage: Backstage, path: Path) -> None:
    photo = path.read_bytes()

    with service.client() as client:
        response = post(client, photo=photo)

    assert response.status_code == 201, response.text
    assert response.json()["content_type"] == ACCEPTED[path.suffix]
    assert response.json()["metadata"] == "removed"
    assert_stored(response.json(), without_metadata(photo), backstage)


def test_a_photo_comes_back_without_its_position_and_looks_the_same(service: Service) -> None:
    photo = sample("exif_gps.jpg")
    sent = Image.open(io.BytesIO(photo))
    assert sent.getexif().get_ifd(GPS)

    with service.client() as client:
        recipe = post(client, photo=photo).json()

    stored = Image.open(io.BytesIO(fetch(recipe["location"]).content))
    assert not stored.getexif().get_ifd(GPS)
    assert ImageChops.difference(sent, stored).getbbox() is None
    assert (recipe["width"], recipe["height"]) == ImageOps.exif_transpose(sent).size


def test_an_animation_keeps_its_frames(service: Service) -> None:
    photo = sample("dispose_prev.gif")

    with service.client() as client:
        recipe = post(client, photo=photo).json()

    sent, stored = Image.open(io.BytesIO(photo)), Image.open(io.BytesIO(fetch(recipe["location"]).content))
    durations = [[frame.info.get("duration") for frame in ImageSequence.Iterator(each)] for each in (sent, stored)]
    assert durations[0] == durations[1]
    assert len(durations[0]) > 1


def test_a_setting_keeps_all_metadata(start_service: Callable[..., Service], backstage: Backstage) -> None:
    service = start_service(PHOTO_METADATA="keep")
    photo = sample("exif_gps.jpg")

    with service.client() as client:
        recipe = post(client, photo=photo).json()

    assert recipe["metadata"] == "kept"
    assert recipe["width"] == Image.open(io.BytesIO(photo)).width
    assert_stored(recipe, photo, backstage)


@pytest.mark.parametrize(("name", "reason"), MALFORMED.items())
def test_a_damaged_photo_is_rejected_with_the_reason(
    service: Service, backstage: Backstage, name: str, reason: str
) -> None:
    with service.client() as client:
        response = post(client, photo=sample(name))

    assert reason in assert_problem(response, 422, "photo-malformed", field="photo")["detail"]
    assert backstage.nothing_is_left()


@pytest.mark.parametrize(
    "photo",
    [b"\xff\xd8\xff\xe0\x00\x01" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(100)],
    ids=["a segment without its length", "a chunk without a type"],
)
def test_a_photo_whose_structure_cannot_be_followed_is_rejected(
    service: Service, backstage: Backstage, photo: bytes
) -> None:
    with service.client() as client:
        response = post(client, photo=photo)

    assert_problem(response, 422, "photo-malformed", field="photo")
    assert backstage.nothing_is_left()


def test_a_photo_that_is_malformed_after_its_first_part_leaves_nothing(service: Service, backstage: Backstage) -> None:
    photo = sample("pil136.png")[:-12] + b"\0\xb0\0\0IDAT" + bytes(0xB00000 + 4) + b"\xff\xff\xff\xffIDAT"

    with service.client() as client:
        response = post(client, photo=photo)

    assert_problem(response, 422, "photo-malformed", field="photo")
    assert backstage.nothing_is_left()


def test_what_is_a_page_as_well_is_stored_as_the_photo_alone(service: Service) -> None:
    comment = b"\xff\xfe\x00\x1b<script>alert(1)</script>"
    photo = b"\xff\xd8" + comment + sample("hopper.jpg")[2:] + b"<script>alert(2)</script>"

    with service.client() as client:
        recipe = post(client, photo=photo).json()

    assert recipe["content_type"] == "image/jpeg"
    assert b"<script>" not in fetch(recipe["location"]).content


@pytest.mark.parametrize("path", photos(LET_IN), ids=lambda path: path.name)
def test_a_photo_of_a_type_that_is_not_configured_is_rejected(
    service: Service, backstage: Backstage, path: Path
) -> None:
    with service.client() as client:
        response = post(client, photo=path.read_bytes())

    assert_problem(response, 415, "unsupported-photo", field="photo")
    assert backstage.nothing_is_left()


def test_only_the_configured_types_are_accepted(start_service: Callable[..., Service], backstage: Backstage) -> None:
    service = start_service(PHOTO_TYPES=",".join(LET_IN.values()), PHOTO_METADATA="keep")
    with service.client() as client:
        for path in photos(LET_IN):
            response = post(client, photo=path.read_bytes())
            assert response.json()["content_type"] == LET_IN[path.suffix]
            assert_stored(response.json(), path.read_bytes(), backstage)
        assert_problem(post(client, photo=sample("hopper.jpg")), 415, "unsupported-photo", field="photo")
