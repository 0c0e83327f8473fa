"""Renders damaged photos and counts the outcomes: `python -m tests.photos.renditions.fuzzing COUNT`."""

import asyncio
import io
import json
import random
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache

import pillow_heif
from PIL import Image

from recipe_api.photos.renditions.process import Limits, PhotoUnrenderable, RendererFailed
from tests.photos.renditions.making import CONTENT_TYPES, coffee, encoded, oriented
from tests.photos.renditions.profiles import SRGB
from tests.photos.renditions.streams import rendered, renderers
from tests.support.samples import sample

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 600
"""The bytes at the beginning that contain most of the structure of a small photo. Half of the damage is there."""
LIMITS = Limits(cpu_seconds=5, wall_seconds=60)


@cache
def seeds(file_format: str) -> list[bytes]:
    """Return intact photos of this format, of several kinds."""
    photo, small = coffee(48, 32), coffee(24, 16)
    translucent = photo.convert("RGBA")
    translucent.putalpha(Image.radial_gradient("L").resize(photo.size))
    animated = {"save_all": True, "append_images": [small.resize(photo.size)]}
    if file_format == "JPEG":
        variants = [
            oriented(photo, "JPEG", 6, icc_profile=SRGB),
            encoded(photo, "JPEG", progressive=True),
            encoded(photo.convert("CMYK"), "JPEG", icc_profile=SRGB),
            encoded(photo.convert("L"), "JPEG", restart_marker_blocks=1),
            sample("frame_size.mpo"),
        ]
    elif file_format == "PNG":
        variants = [
            oriented(photo, "PNG", 6, icc_profile=SRGB),
            encoded(photo.convert("P"), "PNG", transparency=bytes(range(256))),
            encoded(photo.convert("I;16"), "PNG"),
            encoded(photo, "PNG", **animated),
            sample("pil136.png"),
            sample("rgb_trns.png"),
        ]
    elif file_format == "GIF":
        variants = [
            encoded(photo, "GIF"),
            encoded(photo, "GIF", interlace=0, **animated),
            sample("hopper.gif"),
            sample("dispose_prev.gif"),
        ]
    elif file_format == "WEBP":
        variants = [
            oriented(photo, "WEBP", 6, icc_profile=SRGB),
            encoded(translucent, "WEBP"),
            encoded(translucent, "WEBP", lossless=True),
            encoded(photo, "WEBP", **animated),
            sample("anim_frame1.webp"),
        ]
    elif file_format == "AVIF":
        variants = [
            oriented(photo, "AVIF", 6, icc_profile=SRGB, speed=10),
            encoded(translucent, "AVIF", speed=10),
            _undated(encoded(photo, "AVIF", speed=10, **animated)),
            sample("hopper-missing-pixi.avif"),
        ]
    else:
        deep = io.BytesIO()
        pillow_heif.from_bytes("RGB;16", (48, 32), bytes(range(256)) * 36).save(deep)
        variants = [
            oriented(photo, "HEIF", 6, icc_profile=SRGB),
            encoded(translucent, "HEIF"),
            encoded(coffee(160, 128), "HEIF", tile_size=64),
            deep.getvalue(),
            sample("hopper.heif"),
        ]
    return variants


def _undated(animation: bytes) -> bytes:
    """Return an animated AVIF without the times at which it was made, so that it is the same in every run."""
    return re.sub(rb"(?s)((?:mvhd|tkhd|mdhd)\x01...).{16}", rb"\g<1>" + bytes(16), animation)


def damaged(file_format: str, number: int) -> bytes:
    """Return the damaged photo with this number, always the same one."""
    chance = random.Random(f"{file_format} {number}")  # noqa: S311 - not a secret
    photo = bytearray(chance.choice(seeds(file_format)))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        chance.choice(DAMAGES)(photo, chance)
    return with_checksums(photo) if file_format == "PNG" and chance.random() < 0.7 else bytes(photo)


def _place(photo: bytearray, chance: random.Random) -> int:
    return chance.randrange(max(len(photo) if chance.random() < 0.5 else min(len(photo), HEAD), 1))


def _change(photo: bytearray, chance: random.Random) -> None:
    at = _place(photo, chance)
    photo[at : at + 1] = chance.randbytes(1)


def _flip(photo: bytearray, chance: random.Random) -> None:
    at = _place(photo, chance)
    photo[at : at + 1] = bytes(byte ^ 1 << chance.randrange(8) for byte in photo[at : at + 1])


def _enlarge(photo: bytearray, chance: random.Random) -> None:
    at, value, size = _place(photo, chance), chance.choice(EXTREMES), chance.choice((1, 2, 4))
    photo[at : at + size] = (value % 256**size).to_bytes(size, chance.choice(("big", "little")))


def _cut(photo: bytearray, chance: random.Random) -> None:
    del photo[_place(photo, chance) :]


def _remove(photo: bytearray, chance: random.Random) -> None:
    at = _place(photo, chance)
    del photo[at : at + chance.randrange(1, 40)]


def _repeat(photo: bytearray, chance: random.Random) -> None:
    start, at = _place(photo, chance), _place(photo, chance)
    photo[at:at] = photo[start : start + chance.randrange(1, 400)] * chance.choice((1, 1, 20))


def _insert(photo: bytearray, chance: random.Random) -> None:
    at = _place(photo, chance)
    photo[at:at] = chance.randbytes(chance.randrange(1, 40))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_change, _change, _flip, _flip, _enlarge, _enlarge, _enlarge),
    *(_cut, _remove, _repeat, _insert),
)


def with_checksums(photo: bytearray) -> bytes:
    """Return a PNG whose chunks have valid checksums, so that a decoder reads their contents."""
    at = 8
    while at + 12 <= len(photo):
        end = at + 8 + int.from_bytes(photo[at : at + 4], "big")
        if end + 4 > len(photo):
            break
        photo[end : end + 4] = zlib.crc32(photo[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(photo)


async def outcome(file_format: str, number: int) -> str:
    """Render a damaged photo and return what became of it."""
    try:
        await rendered(damaged(file_format, number), CONTENT_TYPES[file_format], sizes=(16, 320), limits=LIMITS)
    except PhotoUnrenderable:
        return "unrenderable"
    except RendererFailed as error:
        return str(error)
    return "rendered"


async def main(count: int) -> None:
    for file_format in CONTENT_TYPES:
        started, outcomes = time.monotonic(), Counter[str]()
        for number in range(count):
            outcomes[await outcome(file_format, number)] += 1
            if renderers():
                raise AssertionError((file_format, number))
        seconds = round(time.monotonic() - started)
        print(json.dumps({"format": file_format, "seconds": seconds, **outcomes}), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
