"""Real photographs, damaged and hostile ones among them: what is taken goes through byte for byte."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.calls import post
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import Service
from tests.support.traces import Backstage

PHOTOS = Path(__file__).parents[1] / "photos"
TAKEN = {
    ".jpg": "image/jpeg",
    ".mpo": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heif": "image/heic",
}
LET_IN = {".tif": "image/tiff", ".bmp": "image/bmp"}


def photos(kinds: dict[str, str]) -> list[Path]:
    return sorted(path for path in PHOTOS.iterdir() if path.suffix in kinds)


@pytest.mark.parametrize("path", photos(TAKEN), ids=lambda path: path.name)
def test_a_photograph_goes_through_as_it_is(service: Service, backstage: Backstage, path: Path) -> None:
    photo = path.read_bytes()

    with service.client() as client:
        answer = post(client, photo=photo)

    assert answer.status_code == 201, answer.text
    assert answer.json()["content_type"] == TAKEN[path.suffix]
    assert_stored(answer.json(), photo, backstage)


@pytest.mark.parametrize(
    "photo",
    [b"GIF89a/*" + bytes(20) + b"*/=alert(1)//", b"\xff\xd8\xff\xfe\x00\x20<script>alert(1)</script>"],
    ids=["GIF and script", "JPEG with a page in its comment"],
)
def test_what_is_two_things_at_once_is_served_as_the_photo(
    service: Service, backstage: Backstage, photo: bytes
) -> None:
    with service.client() as client:
        answer = post(client, photo=photo)

    assert answer.json()["content_type"] in {"image/gif", "image/jpeg"}
    assert_stored(answer.json(), photo, backstage)


@pytest.mark.parametrize("path", photos(LET_IN), ids=lambda path: path.name)
def test_a_kind_that_is_not_asked_for_is_refused(service: Service, backstage: Backstage, path: Path) -> None:
    with service.client() as client:
        answer = post(client, photo=path.read_bytes())

    assert_problem(answer, 415, "unsupported-photo", field="photo")
    assert backstage.nothing_is_left()


def test_a_setting_lets_other_kinds_in_and_those_alone(
    start_service: Callable[..., Service], backstage: Backstage
) -> None:
    service = start_service(PHOTO_TYPES=",".join(LET_IN.values()))
    with service.client() as client:
        for path in photos(LET_IN):
            answer = post(client, photo=path.read_bytes())
            assert answer.json()["content_type"] == LET_IN[path.suffix]
            assert_stored(answer.json(), path.read_bytes(), backstage)
        assert_problem(
            post(client, photo=(PHOTOS / "hopper.jpg").read_bytes()), 415, "unsupported-photo", field="photo"
        )
