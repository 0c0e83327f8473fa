"""Shrinks a photo band by band, with the same result as if it were one image."""

from math import ceil, floor

from PIL import Image

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.child.rows import Rows

BAND_BYTES = 4 * 1024 * 1024
"""The approximate size of a band in memory. Smaller bands overlap more, and overlapping rows are computed twice."""
_SUPPORT = 3
"""The radius of the Lanczos filter, in rows of the result."""


def shrunk(photo: Rows, target: Dimensions) -> Image.Image:
    """Return the photo shrunk to these dimensions, which must not exceed its own."""
    scale = photo.dimensions.height / target.height
    step = max(floor(BAND_BYTES / (4 * photo.dimensions.width * scale)), 2 * _SUPPORT)
    result = _shrunk_band(photo, target, 0, min(step, target.height))
    if step < target.height:
        first, result = result, Image.new(result.mode, target)
        result.paste(first, (0, 0))
    for top in range(step, target.height, step):
        result.paste(_shrunk_band(photo, target, top, min(top + step, target.height)), (0, top))
    return result


def _shrunk_band(photo: Rows, target: Dimensions, top: int, bottom: int) -> Image.Image:
    """Return the rows of the result from `top` to `bottom`."""
    width, height = photo.dimensions
    scale = height / target.height
    reach = ceil(_SUPPORT * scale)
    first, last = max(floor(top * scale) - reach, 0), min(ceil(bottom * scale) + reach, height)
    box = (0, top * scale - first, width, min(bottom * scale, height) - first)
    return photo.band(first, last).resize((target.width, bottom - top), Image.Resampling.LANCZOS, box)
