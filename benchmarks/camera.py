"""Photos that cost as much to encode and decode as a camera's: 12 megapixels, about 4 MB, detail at every scale.

As in nature, each octave of detail has about the same strength; the finest is weaker, as a lens makes it. What the
photos show is clouds.
"""

import io

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


def photo() -> bytes:
    """Return a JPEG, another one each time."""
    luminance = _clouds(_OCTAVES)
    blue, red = (_clouds(_COLOURS) for _ in range(2))
    file = io.BytesIO()
    Image.merge("YCbCr", (luminance, blue, red)).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _clouds(octaves: int) -> Image.Image:
    """Return a picture with detail from the coarsest octave to the finest, or to an earlier one."""
    band = Image.new("L", (1, 1), 128)
    for octave in range(octaves):
        shift = _OCTAVES - 1 - octave
        size = (max(SIZE[0] >> shift, 1), max(SIZE[1] >> shift, 1))
        deviation = _DEVIATION * (_FINEST if octave == _OCTAVES - 1 else 1)
        band = ImageChops.add(band.resize(size, Image.Resampling.BICUBIC), Image.effect_noise(size, deviation), 1, -128)
    return band.resize(SIZE, Image.Resampling.BICUBIC)
