"""Bands of rows, in few modes."""

import pytest
from PIL import Image

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.child.rows import RowsOfBuffer, RowsOfImage, in_plain_mode


def gradient(mode: str) -> Image.Image:
    return Image.linear_gradient("L").resize((20, 30)).convert("RGBA").convert(mode)


def with_transparency(image: Image.Image, value: object) -> Image.Image:
    image.info["transparency"] = value
    return image


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_plain_modes_stay(mode: str) -> None:
    assert in_plain_mode(gradient(mode)) == gradient(mode)


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (gradient("L").convert("1"), "L"),
        (gradient("RGB").convert("P"), "RGB"),
        (with_transparency(gradient("RGB").convert("P"), 0), "RGBA"),
        (with_transparency(gradient("RGB").convert("P"), bytes(9)), "RGBA"),
        (gradient("LA").convert("PA"), "RGBA"),
        (with_transparency(gradient("L"), 7), "RGBA"),
        (with_transparency(gradient("RGB"), (7, 7, 7)), "RGBA"),
        (with_transparency(gradient("L").convert("1"), 255), "RGBA"),
        (gradient("RGBA").convert("RGBa"), "RGBA"),
        (gradient("LA").convert("La"), "LA"),
        (gradient("RGB").convert("YCbCr"), "RGB"),
    ],
)
def test_other_modes_become_plain(image: Image.Image, mode: str) -> None:
    assert in_plain_mode(image).mode == mode


def test_the_transparent_colour_becomes_transparent() -> None:
    image = with_transparency(Image.new("RGB", (2, 1), (7, 8, 9)), (7, 8, 9))
    image.putpixel((0, 0), (1, 2, 3))
    plain = in_plain_mode(image)
    assert [plain.getpixel((x, 0)) for x in range(2)] == [(1, 2, 3, 255), (7, 8, 9, 0)]


@pytest.mark.parametrize("mode", ["I", "I;16"])
def test_16_bits_of_grey_lose_their_lower_8(mode: str) -> None:
    image = with_transparency(Image.new(mode, (3, 1)), 0x1234)
    for x, value in enumerate((0x0000, 0x80FF, 0xFFFF)):
        image.putpixel((x, 0), value)
    plain = in_plain_mode(image)
    assert (plain.mode, plain.tobytes()) == ("L", b"\x00\x80\xff")


def test_a_band_has_the_rows_of_the_image() -> None:
    image = gradient("RGB")
    rows = RowsOfImage(image)
    assert rows.dimensions == (20, 30)
    assert rows.band(5, 12) == image.crop((0, 5, 20, 12))


@pytest.mark.parametrize("padding", [0, 3])
def test_a_band_of_a_buffer_has_the_rows_of_its_image(padding: int) -> None:
    image = gradient("RGB")
    stride = 60 + padding
    data = b"".join(image.crop((0, y, 20, y + 1)).tobytes().ljust(stride, b"?") for y in range(30))
    rows = RowsOfBuffer(memoryview(data), Dimensions(20, 30), stride=stride, mode="RGB")
    assert rows.band(5, 12) == image.crop((0, 5, 20, 12))


@pytest.mark.parametrize(("mode", "expected"), [("L", "LA"), ("LA", "LA"), ("RGB", "RGBA"), ("RGBA", "RGBA")])
def test_rows_that_were_not_decoded_are_transparent(mode: str, expected: str) -> None:
    rows = RowsOfImage(gradient(mode), shown=(0, 0, 20, 10))
    for top, bottom in ((0, 5), (5, 10), (5, 15), (10, 15), (20, 30)):
        band = rows.band(top, bottom)
        assert band.mode == expected
        alpha = band.getchannel("A")
        assert [alpha.getpixel((0, y - top)) for y in range(top, bottom)] == [
            255 if y < 10 else 0 for y in range(top, bottom)
        ]


def test_what_is_outside_of_the_box_that_is_shown_is_transparent() -> None:
    rows = RowsOfImage(Image.new("RGB", (20, 30)), shown=(3, 7, 12, 11))
    for top, bottom in ((0, 30), (0, 5), (5, 9), (8, 10), (9, 20), (20, 30)):
        alpha = rows.band(top, bottom).getchannel("A")
        expected = Image.new("L", (20, 30), 0)
        expected.paste(255, (3, 7, 12, 11))
        assert alpha == expected.crop((0, top, 20, bottom))


def test_transparency_stays_within_the_box_that_is_shown() -> None:
    rows = RowsOfImage(Image.new("RGBA", (20, 30), (1, 2, 3, 77)), shown=(3, 7, 12, 11))
    assert [rows.band(0, 30).getpixel(at) for at in ((2, 8), (3, 8), (3, 11))] == [
        (1, 2, 3, 0),
        (1, 2, 3, 77),
        (1, 2, 3, 0),
    ]
