"""Reads and validates the result that the child process sends to its parent.

The child decodes untrusted input, so its output is untrusted as well. The result has this format:

    4 bytes   length of the header, big-endian
    header    JSON: {"unrenderable": reason}, or
              {"width": …, "height": …, "placeholder": …, "renditions": [{"size", "width", "height", "bytes"}, …]}
    WebP      the renditions in this order, without gaps, to the end of the output
"""

import asyncio
import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.sizes import scaled

MAX_HEADER_BYTES = 8 * 1024
"""Enough for more sizes than can be configured."""
MAX_SIDE = 16_383
"""The limit of WebP, for each side in pixels."""
_MAX_PHOTO_SIDE = 2**31
_MAX_TEXT = 300
"""Characters of an error that are logged."""
_LENGTH_BYTES = 4
_MAX_PLACEHOLDER_BYTES = 25
"""A ThumbHash with alpha has at most 6 + 19 bytes."""


class PhotoUnrenderable(Exception):
    """The photo cannot be decoded, or exceeds a limit. Another attempt would fail in the same way."""


class RendererFailed(Exception):
    """The child process crashed, exceeded a limit, or sent an invalid result. Another attempt may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A smaller copy of a photo."""

    size: int
    """The configured size."""
    width: int
    height: int
    data: bytes
    """A WebP file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The renditions and the placeholder of a photo."""

    width: int
    """The width of the photo in pixels, as it is displayed."""
    height: int
    placeholder: str
    """The photo's ThumbHash in base64."""
    renditions: tuple[Rendition, ...]


def legible(text: str) -> str:
    """Return a text from the child as it may be logged: short, and without control characters."""
    return "".join(character if character.isprintable() else "?" for character in text[:_MAX_TEXT])


async def read_result(output: asyncio.StreamReader, sizes: Sequence[int]) -> Rendered:
    """Read and validate the result for these sizes.

    Raises:
        PhotoUnrenderable: The child rejected the photo.
        RendererFailed: The result is invalid or incomplete.
    """
    try:
        header = await _read_header(output)
        if isinstance(reason := header.get("unrenderable"), str):
            raise PhotoUnrenderable(legible(reason))
        photo, placeholder = _dimensions(header), _placeholder(header)
        entries = _entries(header, sizes, photo)
        renditions = [await _read_rendition(output, size, entry) for size, entry in entries]
        if await output.read(1):
            raise RendererFailed("The result is longer than its header declares.")
    except asyncio.IncompleteReadError as error:
        raise RendererFailed("The result is incomplete.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RendererFailed("The header of the result is invalid.") from error
    return Rendered(width=photo.width, height=photo.height, placeholder=placeholder, renditions=tuple(renditions))


async def _read_header(output: asyncio.StreamReader) -> dict[str, Any]:
    length = int.from_bytes(await output.readexactly(_LENGTH_BYTES), "big")
    if length > MAX_HEADER_BYTES:
        raise ValueError(length)
    header = json.loads(await output.readexactly(length))
    if not isinstance(header, dict):
        raise TypeError(header)
    return header


def _dimensions(entry: dict[str, Any]) -> Dimensions:
    width, height = entry["width"], entry["height"]
    if not (type(width) is type(height) is int and 0 < width <= _MAX_PHOTO_SIDE and 0 < height <= _MAX_PHOTO_SIDE):
        raise ValueError(entry)
    return Dimensions(width, height)


def _placeholder(header: dict[str, Any]) -> str:
    placeholder: str = header["placeholder"]
    if not 0 < len(base64.b64decode(placeholder, validate=True)) <= _MAX_PLACEHOLDER_BYTES:
        raise ValueError(placeholder)
    return placeholder


def _entries(header: dict[str, Any], sizes: Sequence[int], photo: Dimensions) -> Iterable[tuple[int, dict[str, Any]]]:
    """Return each size with its entry in the header.

    Raises:
        ValueError: The entries do not match these sizes, or have the wrong dimensions.
    """
    entries = list(zip(sizes, header["renditions"], strict=True))
    for size, entry in entries:
        if entry["size"] != size or _dimensions(entry) != scaled(photo, size) or max(_dimensions(entry)) > MAX_SIDE:
            raise ValueError(entry)
        if not (type(entry["bytes"]) is int and 0 < entry["bytes"] <= max_bytes(_dimensions(entry))):
            raise ValueError(entry)
    return entries


def max_bytes(rendition: Dimensions) -> int:
    """Return the maximum size of a rendition in bytes: two per pixel, which is several times as much as noise needs."""
    return 2 * rendition.width * rendition.height + 4096


async def _read_rendition(output: asyncio.StreamReader, size: int, entry: dict[str, Any]) -> Rendition:
    data = await output.readexactly(entry["bytes"])
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or int.from_bytes(data[4:8], "little") + 8 != len(data):
        raise ValueError(entry)
    return Rendition(size=size, width=entry["width"], height=entry["height"], data=data)
