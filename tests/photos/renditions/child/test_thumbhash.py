"""Placeholders, compared with those of the reference implementation (npm's thumbhash 0.1.1)."""

import base64
from collections.abc import Callable

import pytest

from recipe_api.photos.renditions.child.thumbhash import thumbhash

Pixel = tuple[int, int, int, int]


@pytest.mark.parametrize(
    ("width", "height", "pixel", "expected"),
    [
        pytest.param(
            32,
            21,
            lambda x, y: (x * 8 % 256, y * 12 % 256, x * y % 256, 255),
            "3AgOHZpgdndwiHiGeGd4h/SVD/eI",
            id="landscape",
        ),
        pytest.param(
            13,
            32,
            lambda x, y: (255 - x * 19 % 256, (x * x + y * y) % 256, y * 7 % 256, 255),
            "njgKUx59YGiHdoeYe3/2mJk=",
            id="portrait",
        ),
        pytest.param(
            32,
            32,
            lambda x, y: ((x * 31 ^ y * 17) % 256, x * y * 5 % 256, (x + y * 3) % 256, 255),
            "2RkGJwRkZmZgd3d2d1d3Z3eGlvZn/30O",
            id="square",
        ),
        pytest.param(
            30,
            20,
            lambda x, y: (x * 8 % 256, y * 12 % 256, 200, x * y * 3 % 256),
            "pQWGE4oWoJigiZqgoAr5aCFDUIdxOSg=",
            id="translucent landscape",
        ),
        pytest.param(
            7,
            31,
            lambda x, y: (x * 36 % 256, y * 8 % 256, x * y * 7 % 256, y * 8 % 256),
            "oJiFEQw3YKSoeJjkoA7IS3h4gIiHeHg=",
            id="translucent portrait",
        ),
        pytest.param(32, 1, lambda x, _: (x * 8, 255 - x * 8, 128, 255), "4PdBAbSIiIiIiAiIiIcPh4c=", id="thin"),
        pytest.param(
            8, 8, lambda x, y: (x * 30, y * 30, 100, 0), "AAiCBQAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", id="invisible"
        ),
        pytest.param(
            100,
            75,
            lambda x, y: ((x * 2 + y) % 256, y * 3 % 256, x * y % 256, 255),
            "HigONZJyd3dweHiHh3eHh4OACOd3",
            id="as large as it may be",
        ),
    ],
)
def test_placeholders_are_those_of_the_reference(
    width: int, height: int, pixel: Callable[[int, int], Pixel], expected: str
) -> None:
    pixels = [channel for y in range(height) for x in range(width) for channel in pixel(x, y)]
    assert base64.b64encode(thumbhash(width, height, pixels)).decode() == expected
