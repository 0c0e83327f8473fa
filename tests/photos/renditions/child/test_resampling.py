"""Photos are shrunk band by band, without seams."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image, ImageChops

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.child import resampling
from recipe_api.photos.renditions.child.resampling import shrunk
from recipe_api.photos.renditions.child.rows import RowsOfImage
from recipe_api.photos.renditions.sizes import scaled

sides = some.integers(1, 400)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((width, height), 20).convert("RGB").convert(mode)


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    return max(ImageChops.difference(one, other).tobytes())


@given(sides, sides, some.integers(1, 400), some.sampled_from([1, 10_000, 100_000]))
def test_bands_give_the_same_result_as_the_whole(width: int, height: int, size: int, band_bytes: int) -> None:
    image = noise(width, height)
    target = scaled(Dimensions(width, height), size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "BAND_BYTES", band_bytes)
        result = shrunk(RowsOfImage(image), target)
    assert result.size == target
    # Pillow rounds once more in between, either after the horizontal or after the vertical pass.
    assert largest_difference(result, image.resize(target, Image.Resampling.LANCZOS)) <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_the_mode_stays(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "BAND_BYTES", 1)
    assert shrunk(RowsOfImage(noise(50, 90, mode)), Dimensions(10, 18)).mode == mode


def test_a_photo_that_is_small_enough_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "BAND_BYTES", 1)
    image = noise(50, 90)
    assert shrunk(RowsOfImage(image), Dimensions(50, 90)) == image


def test_the_colour_of_what_is_invisible_does_not_bleed() -> None:
    image = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 100, 50))
    result = shrunk(RowsOfImage(image), Dimensions(10, 9))
    for y in range(9):
        pixel = result.getpixel((5, y))
        assert isinstance(pixel, tuple)
        assert pixel[3] == 0 or pixel[:3] == (0, 0, 255)
