"""The decoded pixels of a photo, in bands of rows.

Working on bands keeps intermediate images small: besides the decoder's output, there is never a second copy of the
whole photo in another mode or at another width.
"""

from abc import ABC, abstractmethod
from typing import Any

from PIL import Image

from recipe_api.photos.filtering import Dimensions

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge; the right and lower edges are exclusive."""
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


class Rows(ABC):
    """The pixels of a photo."""

    dimensions: Dimensions

    @abstractmethod
    def band(self, top: int, bottom: int) -> Image.Image:
        """Return the rows from `top` to `bottom`, in one of the modes L, LA, RGB, RGBA and CMYK."""


class RowsOfImage(Rows):
    """The pixels of a Pillow image.

    Args:
        image: The image.
        shown: The box with decoded pixels; by default, the whole image. The rest is transparent, as in browsers.
    """

    def __init__(self, image: Image.Image, *, shown: Box | None = None) -> None:
        self.dimensions = Dimensions(*image.size)
        self._image = image
        self._shown = shown

    def band(self, top: int, bottom: int) -> Image.Image:
        band = in_plain_mode(self._image.crop((0, top, self.dimensions.width, bottom)))
        if self._shown is not None and band.mode != "CMYK":  # CMYK has no alpha channel in Pillow
            _show_only(self._shown, band, top)
        return band


def _show_only(box: Box, band: Image.Image, top: int) -> None:
    """Make a band that begins at row `top` transparent outside the box."""
    left, upper, right, lower = box
    part = (left, max(upper - top, 0), right, min(lower - top, band.height))
    alpha = Image.new("L", band.size, 0)
    if part[1] < part[3]:
        alpha.paste(band.getchannel("A").crop(part) if "A" in band.mode else 255, part)
    band.putalpha(alpha)


class RowsOfBuffer(Rows):
    """The pixels in another library's buffer.

    Args:
        data: The pixels.
        dimensions: The width and height in pixels.
        stride: The distance between two rows in bytes.
        mode: Pillow's name for the format of the pixels.
    """

    def __init__(self, data: memoryview, dimensions: Dimensions, *, stride: int, mode: str) -> None:
        self.dimensions = dimensions
        self._data, self._stride, self._mode = data, stride, mode

    def band(self, top: int, bottom: int) -> Image.Image:
        size = (self.dimensions.width, bottom - top)
        data = self._data[top * self._stride : bottom * self._stride]
        decoder: tuple[Any, ...] = ("raw", self._mode, self._stride)
        return in_plain_mode(Image.frombytes(self._mode, size, data, *decoder))


def in_plain_mode(image: Image.Image) -> Image.Image:
    """Return the image in one of the modes L, LA, RGB, RGBA and CMYK."""
    mode = image.mode
    if mode in {"I", "I;16"}:  # 16 bits of grey, which convert() would clip to 8
        plain = image.convert("I").point([value >> 8 for value in range(65536)], "L")
        plain.info.pop("transparency", None)
        return plain
    if mode in {"LA", "RGBA", "CMYK"} or (mode in {"L", "RGB"} and not image.has_transparency_data):
        return image
    if mode in _PREMULTIPLIED:
        return image.convert(_PREMULTIPLIED[mode])
    if mode == "1" and not image.has_transparency_data:
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
