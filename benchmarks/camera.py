"""Photos that cost as much to encode and decode as a camera's: 12 megapixels, about 4 MB, detail at every scale.

As in nature, each octave of detail has about the same strength; the finest is weaker, as a lens makes it. What the
photos show is clouds.
"""

import io
from bisect import bisect_right

from PIL import Image, ImageChops

SIZE = (4000, 3000)
_QUALITY = 90
_OCTAVES = 9
_DEVIATION = 9.5
"""Standard deviation of the brightness that each octave adds, of 255 levels."""
_FINEST = 0.4
"""The strength of the finest octave."""
_COLOURS = 5
"""How many octaves have colours. The finest details are grey, as in most photos."""


def photo(size: tuple[int, int] = SIZE, *, at_most: int | None = None) -> bytes:
    """Return a new JPEG each time: of quality 90, or of the highest quality that fits into `at_most` bytes."""
    luminance = _clouds(size, _OCTAVES)
    blue, red = (_clouds(size, _COLOURS) for _ in range(2))
    picture = Image.merge("YCbCr", (luminance, blue, red))
    if at_most is None:
        return _encoded(picture, _QUALITY)
    return _encoded(picture, bisect_right(range(100), at_most, key=lambda each: len(_encoded(picture, each))) - 1)


def _encoded(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _clouds(size: tuple[int, int], octaves: int) -> Image.Image:
    """Return a picture with detail from the coarsest octave to the finest, or to an earlier one."""
    band = Image.new("L", (1, 1), 128)
    for octave in range(octaves):
        shift = _OCTAVES - 1 - octave
        step = (max(size[0] >> shift, 1), max(size[1] >> shift, 1))
        deviation = _DEVIATION * (_FINEST if octave == _OCTAVES - 1 else 1)
        band = ImageChops.add(band.resize(step, Image.Resampling.BICUBIC), Image.effect_noise(step, deviation), 1, -128)
    return band.resize(size, Image.Resampling.BICUBIC)
