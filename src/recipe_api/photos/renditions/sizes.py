"""Decides which renditions a photo has, and their dimensions, from the photo's dimensions alone.

The size of a rendition is the length of its longest side in pixels, as configured. A photo that is smaller than a
configured size is not enlarged: its rendition has the photo's dimensions.
"""

from functools import lru_cache

from recipe_api.photos.filtering import Dimensions

RENDERABLE = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif"})
"""Content types of photos that can have renditions."""


@lru_cache(maxsize=128)  # cameras and screens have few different dimensions
def offered(dimensions: Dimensions, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return which of the configured sizes a photo has, in ascending order.

    These are all sizes below its longest side, and the next one, whose rendition has the photo's dimensions. Renditions
    of larger sizes would be copies of that one.
    """
    ascending = sorted(set(sizes))
    longest = max(dimensions)
    below = [size for size in ascending if size < longest]
    return tuple(ascending[: len(below) + 1]) if min(dimensions) > 0 else ()


def scaled(dimensions: Dimensions, size: int) -> Dimensions:
    """Return the dimensions of the rendition of this size: same aspect ratio, and no larger than the photo."""
    longest = max(dimensions)
    if longest <= size:
        return dimensions
    return Dimensions(*(max(round(side * size / longest), 1) for side in dimensions))
