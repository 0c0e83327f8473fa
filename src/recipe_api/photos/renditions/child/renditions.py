"""Makes the renditions of a photo, from its bytes to WebP files.

The photo is decoded once, to no more pixels than the largest rendition needs if its decoder supports that, and shrunk
to that size. The remaining steps work on few pixels: colour conversion, orientation, and the smaller renditions, each
made from the next larger one.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, WebPImagePlugin

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.child.colour import in_srgb
from recipe_api.photos.renditions.child.decoders import open_photo
from recipe_api.photos.renditions.child.photo_input import Readable
from recipe_api.photos.renditions.child.resampling import shrunk
from recipe_api.photos.renditions.child.thumbhash import thumbhash
from recipe_api.photos.renditions.sizes import scaled

_WEBP = WebPImagePlugin.WebPImageFile.format
"""Referring to the plugin imports it, so that Pillow does not import all others to find it."""
_QUALITY = 80
_METHOD = 2
"""Method 4, the default, takes 1.6 times as long for 5 % fewer bytes."""
_PLACEHOLDER_SIDE = 32
"""More than twice the highest frequency of a ThumbHash."""
OWN_BYTES = 80 * 1024 * 1024
"""What this process needs besides the pixels of the photo: code, and the largest rendition while it is encoded."""
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that turns a photo upright, by its Exif orientation."""
_FIRST_TURNED = 5
"""From this orientation on, width and height are swapped."""


class Unrenderable(Exception):
    """The photo cannot be decoded, or exceeds a limit."""


def render(
    raw: Readable, content_type: str, *, sizes: Sequence[int], pixels: int, memory_bytes: int
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the header of the result, and the renditions.

    Args:
        raw: The stream with the photo.
        content_type: Its type.
        sizes: The sizes of the renditions, in ascending order.
        pixels: The limit on the photo's pixels.
        memory_bytes: The limit on the memory of this process.

    Raises:
        Unrenderable: The photo cannot be decoded, or exceeds a limit.
    """
    try:
        displayed, image = _largest(raw, content_type, max(sizes), pixels=pixels, memory_bytes=memory_bytes)
    except Unrenderable:
        raise
    except Exception as error:  # decoders raise errors of any type
        raise Unrenderable(f"{type(error).__name__}: {error}") from error
    files: list[bytes] = []
    entries: list[dict[str, int]] = []
    for size in reversed(sizes):
        image = _resized(image, scaled(displayed, size))
        files.insert(0, _encoded(image))
        entries.insert(0, {"size": size, "width": image.width, "height": image.height, "bytes": len(files[0])})
    header = {
        "width": displayed.width,
        "height": displayed.height,
        "placeholder": _placeholder(image),
        "renditions": entries,
    }
    return header, files


def _largest(
    raw: Readable, content_type: str, size: int, *, pixels: int, memory_bytes: int
) -> tuple[Dimensions, Image.Image]:
    """Return the dimensions of the photo as displayed, and its largest rendition."""
    photo = open_photo(raw, content_type)
    target = scaled(photo.stored, size)
    photo.reduce_to(target)
    _check(photo.stored, photo.memory_bytes, pixels=pixels, memory_bytes=memory_bytes)
    image = in_srgb(shrunk(photo.decode(), target), photo.profile)
    if photo.orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[photo.orientation])
    width, height = photo.stored
    return Dimensions(height, width) if photo.orientation >= _FIRST_TURNED else photo.stored, image


def _check(stored: Dimensions, needed: int, *, pixels: int, memory_bytes: int) -> None:
    """Raise `Unrenderable` if the photo exceeds a limit."""
    width, height = stored
    if min(stored) < 1:
        raise Unrenderable("The photo is empty.")
    if width * height > pixels:
        raise Unrenderable(f"The photo has {width} x {height} pixels; at most {pixels} are permitted.")
    if needed + OWN_BYTES > memory_bytes:
        raise Unrenderable(f"The photo needs {needed + OWN_BYTES} bytes of memory; {memory_bytes} are permitted.")


def _resized(image: Image.Image, dimensions: Dimensions) -> Image.Image:
    return image if image.size == dimensions else image.resize(dimensions, Image.Resampling.LANCZOS)


def _encoded(image: Image.Image) -> bytes:
    """Return a WebP file without metadata."""
    file = io.BytesIO()
    image.save(file, _WEBP, quality=_QUALITY, method=_METHOD)
    return file.getvalue()


def _placeholder(image: Image.Image) -> str:
    small = _resized(image, scaled(Dimensions(*image.size), _PLACEHOLDER_SIDE)).convert("RGBA")
    return base64.b64encode(thumbhash(small.width, small.height, small.tobytes())).decode()
