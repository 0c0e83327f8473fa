"""Renditions show what the photo shows."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from recipe_api.photos.renditions.child import renditions as module
from recipe_api.photos.renditions.child.renditions import Unrenderable, render
from tests.photos.renditions.making import CONTENT_TYPES, coffee, encoded, oriented
from tests.photos.renditions.profiles import SRGB
from tests.photos.renditions.similarity import similarity

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
ALIKE = 0.92
"""Different quantizations of a photo are more similar than that. Ten more in all channels give 0.88, a turn 0.3."""


def made(
    photo: bytes, content_type: str = "image/jpeg", *, sizes: tuple[int, ...] = (50, 320), **limits: int
) -> tuple[dict[str, Any], list[Image.Image]]:
    header, files = render(
        io.BytesIO(photo), content_type, sizes=sizes, **{"pixels": 10**8, "memory_bytes": 400 * MIB, **limits}
    )
    assert [entry["bytes"] for entry in header["renditions"]] == [len(file) for file in files]
    return header, [Image.open(io.BytesIO(file)) for file in files]


def as_webp(image: Image.Image) -> Image.Image:
    """Return the image after the lossy encoding of a rendition."""
    return Image.open(io.BytesIO(encoded(image, "WEBP", quality=80, method=2)))


TURNED = [
    (file_format, orientation) for file_format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF") for orientation in range(1, 9)
]


@pytest.mark.parametrize(("file_format", "orientation"), [*TURNED, ("GIF", 1)])
def test_every_type_and_orientation_is_displayed_upright(file_format: str, orientation: int) -> None:
    upright = coffee()
    header, (small, large) = made(oriented(upright, file_format, orientation), CONTENT_TYPES[file_format])
    assert (header["width"], header["height"]) == (600, 400)
    for rendition, dimensions in ((small, (50, 33)), (large, (320, 213))):
        assert rendition.size == dimensions
        expected = as_webp(upright.resize(dimensions, Image.Resampling.LANCZOS))
        assert similarity(rendition, expected) > ALIKE


@pytest.mark.parametrize("file_format", CONTENT_TYPES)
def test_renditions_have_no_metadata_and_no_profile(file_format: str) -> None:
    options = {} if file_format == "GIF" else {"icc_profile": SRGB, "xmp": b"<x/>"}
    _, shown = made(oriented(coffee(), file_format, 3, **options), CONTENT_TYPES[file_format])
    for rendition in shown:
        assert rendition.info.keys() <= {"background", "loop", "timestamp", "duration"}  # those of an animation


@pytest.mark.parametrize("file_format", CONTENT_TYPES)
def test_a_small_photo_is_not_enlarged(file_format: str) -> None:
    header, shown = made(encoded(coffee(60, 40), file_format), CONTENT_TYPES[file_format], sizes=(50, 320))
    assert [rendition.size for rendition in shown] == [(50, 33), (60, 40)]
    assert header["renditions"][1]["size"] == 320


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "AVIF", "HEIF"])
def test_what_is_transparent_stays_transparent(file_format: str) -> None:
    photo = coffee().convert("RGBA")
    photo.putalpha(Image.radial_gradient("L").resize(photo.size))
    _, (_, shown) = made(encoded(photo, file_format), CONTENT_TYPES[file_format])
    assert shown.mode == "RGBA"
    assert similarity(shown, as_webp(photo.resize((320, 213), Image.Resampling.LANCZOS))) > ALIKE


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("GIF", {"save_all": True}),
        ("WEBP", {"save_all": True}),
        ("PNG", {"save_all": True}),
        ("AVIF", {"save_all": True}),
        ("HEIF", {"save_all": True}),
    ],
)
def test_of_an_animation_the_first_image_is_shown(file_format: str, options: dict[str, Any]) -> None:
    first, second = coffee(), Image.new("RGB", (600, 400), "blue")
    photo = encoded(first, file_format, append_images=[second], **options)
    _, (_, shown) = made(photo, CONTENT_TYPES[file_format])
    assert similarity(shown, as_webp(first.resize((320, 213), Image.Resampling.LANCZOS))) > ALIKE


@pytest.mark.parametrize(
    ("file_format", "mode"),
    [(file_format, mode) for file_format in ("PNG",) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    + [("JPEG", "L"), ("JPEG", "CMYK"), ("GIF", "L"), ("GIF", "P"), ("WEBP", "L"), ("AVIF", "L"), ("HEIF", "L")],
)
def test_every_mode_is_shown_in_its_colours(file_format: str, mode: str) -> None:
    image = coffee().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = image.convert("I").point(lambda value: value * 257).convert("I;16")
    _, (_, shown) = made(encoded(image, file_format), CONTENT_TYPES[file_format])
    expected = (
        (coffee().convert("L") if mode == "I;16" else image).convert("RGB").resize((320, 213), Image.Resampling.LANCZOS)
    )
    assert similarity(shown.convert("RGB"), as_webp(expected)) > ALIKE


def test_a_jpeg_is_decoded_to_few_pixels_and_looks_the_same() -> None:
    large = coffee(2400, 1600)
    for options in ({}, {"progressive": True}, {"subsampling": 0}):
        header, (small, shown) = made(encoded(large, "JPEG", quality=95, **options))
        assert (header["width"], header["height"]) == (2400, 1600)
        assert similarity(shown, as_webp(large.resize((320, 213), Image.Resampling.LANCZOS))) > ALIKE
        assert small.size == (50, 33)


def test_the_placeholder_has_the_average_of_the_photo() -> None:
    header, _ = made(encoded(Image.new("RGB", (600, 400), (200, 100, 50)), "PNG"), "image/png")
    bits = int.from_bytes(base64.b64decode(header["placeholder"])[:3], "little")
    lightness, yellow, red = (bits >> at & 63 for at in (0, 6, 12))
    assert lightness / 63 == pytest.approx((200 + 100 + 50) / 3 / 255, abs=0.02)
    assert yellow / 31.5 - 1 == pytest.approx(((200 + 100) / 2 - 50) / 255, abs=0.03)
    assert red / 31.5 - 1 == pytest.approx((200 - 100) / 255, abs=0.03)
    assert bits >> 23 == 0  # opaque


def test_a_photo_with_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(Unrenderable, match="60 x 40 pixels; at most 2399 are permitted"):
        made(encoded(coffee(60, 40), "PNG"), "image/png", pixels=2399)


def test_a_photo_that_needs_too_much_memory_is_not_decoded() -> None:
    with pytest.raises(Unrenderable, match=r"needs \d+ bytes of memory"):
        made(encoded(coffee(60, 40), "PNG"), "image/png", memory_bytes=module.OWN_BYTES + 60 * 40 * 4 - 1)


@pytest.mark.parametrize("content_type", CONTENT_TYPES.values())
@pytest.mark.parametrize(
    "photo", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\4\0\0\0WEBP", bytes(500)]
)
def test_what_is_not_a_photo_is_unrenderable(content_type: str, photo: bytes) -> None:
    with pytest.raises(Unrenderable):
        made(photo, content_type)
