"""Colours are converted to sRGB."""

import pytest
from PIL import Image

from recipe_api.photos.renditions.child.colour import in_srgb
from tests.photos.renditions.profiles import LINEAR_GREY, P3, SRGB


def pixel(image: Image.Image) -> tuple[int, ...]:
    value = image.getpixel((0, 0))
    assert isinstance(value, tuple)
    return value


@pytest.mark.parametrize(
    ("image", "mode", "expected"),
    [
        (Image.new("L", (2, 2), 80), "RGB", (80, 80, 80)),
        (Image.new("LA", (2, 2), (80, 90)), "RGBA", (80, 80, 80, 90)),
        (Image.new("RGB", (2, 2), (10, 20, 30)), "RGB", (10, 20, 30)),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 40)), "RGBA", (10, 20, 30, 40)),
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "RGB", (255, 0, 0)),
    ],
)
def test_without_a_profile_values_stay(image: Image.Image, mode: str, expected: tuple[int, ...]) -> None:
    converted = in_srgb(image, None)
    assert (converted.mode, pixel(converted)) == (mode, expected)


def test_an_opaque_alpha_channel_is_dropped() -> None:
    assert in_srgb(Image.new("RGBA", (2, 2), (1, 2, 3, 255)), None).mode == "RGB"
    assert in_srgb(Image.new("LA", (2, 2), (1, 255)), None).mode == "RGB"


def test_a_colour_of_a_larger_space_becomes_more_saturated() -> None:
    """The numbers are those of CSS Color 4, section 10.3, for a gamma of 2.2."""
    red, green, blue = pixel(in_srgb(Image.new("RGB", (2, 2), (200, 100, 100)), P3))
    assert (red, green, blue) == pytest.approx((216, 93, 97), abs=1)


def test_grey_of_a_larger_space_stays_grey() -> None:
    assert pixel(in_srgb(Image.new("RGB", (2, 2), (128, 128, 128)), P3)) == pytest.approx((128, 128, 128), abs=2)


def test_transparency_is_kept_when_colours_are_converted() -> None:
    converted = in_srgb(Image.new("RGBA", (2, 2), (200, 100, 100, 77)), P3)
    assert pixel(converted) == (*pixel(in_srgb(Image.new("RGB", (2, 2), (200, 100, 100)), P3)), 77)


@pytest.mark.parametrize(("mode", "alpha"), [("L", ()), ("LA", (9,))])
def test_grey_has_profiles_too(mode: str, alpha: tuple[int, ...]) -> None:
    grey = Image.new(mode, (2, 2), (55, *alpha) if alpha else 55)
    converted = pixel(in_srgb(grey, LINEAR_GREY))
    assert converted[:3] == pytest.approx((128, 128, 128), abs=2)
    assert converted[3:] == alpha


def test_srgb_stays_srgb() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    converted = in_srgb(image, SRGB)
    assert max(abs(one - other) for one, other in zip(image.tobytes(), converted.tobytes(), strict=True)) <= 1


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"profile", id="short"),
        pytest.param(P3[:200], id="truncated"),
        pytest.param(P3[:16] + b"RGB " + bytes(500), id="damaged"),
        pytest.param(LINEAR_GREY, id="for grey"),
        pytest.param(P3[:16] + b"CMYK" + P3[20:], id="for print"),
        pytest.param(P3[:12] + b"link" + P3[16:], id="between devices"),
        pytest.param(P3[:16] + b"\xff\xff\xff\xff" + P3[20:], id="for nothing"),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored(unusable: bytes) -> None:
    assert pixel(in_srgb(Image.new("RGB", (2, 2), (200, 100, 100)), unusable)) == (200, 100, 100)
