"""Photos that are crafted to crash a decoder or to exhaust its memory."""

import io
import re
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from recipe_api.photos.renditions.process import Limits, PhotoUnrenderable
from tests.photos.renditions.fuzzing import outcome
from tests.photos.renditions.making import CONTENT_TYPES, coffee, encoded, oriented
from tests.photos.renditions.streams import rendered, renderers
from tests.support.samples import sample

pytestmark = pytest.mark.slow

CHEAP = Limits(cpu_seconds=1)
"""Limits within which a child can start and read a header."""
OFTEN, ALWAYS = 10, 30
"""How many damaged photos of each format scripts/test and scripts/test --all render; `fuzzing` renders any number."""


def png(width: int, height: int, *, depth: int, colour: int, rows: int) -> bytes:
    """Return a PNG with this many rows of zeros."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes(1 + (width * depth * channels + 7) // 8)
    compressor = zlib.compressobj()
    data = b"".join([*(compressor.compress(row) for _ in range(rows)), compressor.flush()])
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        for kind, content in chunks
    )


def jpeg(width: int, height: int, **options: bool) -> bytes:
    """Return a JPEG that declares these dimensions."""
    photo = encoded(coffee(), "JPEG", **options)
    return photo.replace(
        (400).to_bytes(2, "big") + (600).to_bytes(2, "big"), height.to_bytes(2, "big") + width.to_bytes(2, "big")
    )


def webp(width: int, height: int) -> bytes:
    """Return a WebP that declares a canvas of these dimensions."""
    photo = bytearray(oriented(coffee(), "WEBP", 3))
    assert photo[12:16] == b"VP8X"
    photo[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(photo)


def heif(file_format: str, width: int, height: int) -> bytes:
    """Return a HEIF or AVIF that declares these dimensions."""
    photo = encoded(coffee(), file_format)
    before, after = ((w.to_bytes(4, "big") + h.to_bytes(4, "big")) for w, h in ((600, 400), (width, height)))
    assert b"ispe\0\0\0\0" + before in photo
    return photo.replace(b"ispe\0\0\0\0" + before, b"ispe\0\0\0\0" + after)


@pytest.mark.parametrize(
    ("photo", "content_type"),
    [
        pytest.param(lambda: png(50_000, 50_000, depth=1, colour=0, rows=50_000), "image/png", id="PNG, 2.5 GP"),
        pytest.param(lambda: png(14_000, 14_000, depth=16, colour=6, rows=100), "image/png", id="PNG, 16 bits deep"),
        pytest.param(lambda: png(2**31 - 1, 2**31 - 1, depth=8, colour=2, rows=0), "image/png", id="PNG, the largest"),
        pytest.param(lambda: sample("decompression_bomb.gif"), "image/gif", id="GIF, the largest"),
        pytest.param(lambda: jpeg(30_000, 30_000), "image/jpeg", id="JPEG"),
        pytest.param(lambda: jpeg(14_000, 14_000, progressive=True), "image/jpeg", id="JPEG, progressive"),
        pytest.param(lambda: webp(16_383, 16_383), "image/webp", id="WebP"),
        pytest.param(lambda: webp(2**24, 2**24), "image/webp", id="WebP, the largest"),
        pytest.param(lambda: heif("HEIF", 16_384, 16_384), "image/heic", id="HEIC"),
        pytest.param(lambda: heif("AVIF", 16_384, 16_384), "image/avif", id="AVIF"),
    ],
)
async def test_a_bomb_is_rejected_before_it_is_decoded(photo: Callable[[], bytes], content_type: str) -> None:
    with pytest.raises(PhotoUnrenderable):
        await rendered(photo(), content_type, limits=CHEAP)


async def test_a_large_photo_of_a_single_colour_is_rendered() -> None:
    photo = png(12_000, 9_000, depth=1, colour=0, rows=9_000)
    assert (await rendered(photo, "image/png")).width == 12_000


async def test_a_gif_of_many_images_is_decoded_as_far_as_the_first() -> None:
    file = io.BytesIO()
    frames = [Image.new("P", (500, 500), number) for number in range(2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:] * 400)
    assert (await rendered(file.getvalue() * 20, "image/gif", limits=CHEAP)).width == 500


async def test_a_jpeg_of_200_megapixels_is_decoded_to_few() -> None:
    photo = jpeg(16_320, 12_240)
    result = await rendered(photo, "image/jpeg", sizes=(320, 1920))
    assert (result.width, result.height) == (16_320, 12_240)


@pytest.mark.parametrize(
    "number",
    [number if number < OFTEN else pytest.param(number, marks=pytest.mark.exhaustive) for number in range(ALWAYS)],
)
@pytest.mark.parametrize("file_format", CONTENT_TYPES)
async def test_a_damaged_photo_ends_in_renditions_or_one_of_two_errors(file_format: str, number: int) -> None:
    ended = await outcome(file_format, number)
    assert ended in {"rendered", "unrenderable"} or re.search(r"killed by SIG(SEGV|ABRT|BUS|FPE|ILL|XCPU|KILL)", ended)
    assert renderers() == []
