"""Photos of every type, made by the encoders of Pillow and pillow-heif."""

import io
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image
from PIL.ExifTags import Base

COFFEE = Path(__file__).parents[3] / "examples" / "coffee.jpg"

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
"""The content type of each of Pillow's formats."""

STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores a photo that is to be displayed upright, by the orientation that it writes."""


def coffee(width: int = 600, height: int = 400) -> Image.Image:
    """Return a real photo, upright, at these dimensions."""
    return Image.open(COFFEE).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:  # noqa: ANN401 - as Pillow's
    """Return a photo of this format."""
    if file_format == "HEIF":
        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def oriented(image: Image.Image, file_format: str, orientation: int, **options: Any) -> bytes:  # noqa: ANN401 - the same
    """Return a photo that is displayed as this image, but stored with an orientation."""
    transposition = STORED_AS[orientation]
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    stored = image if transposition is None else image.transpose(transposition)
    return encoded(stored, file_format, exif=exif.tobytes(), **options)
