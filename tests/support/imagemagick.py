"""Decodes a photo with ImageMagick, independently of the service (Debian: imagemagick)."""

import io
import shutil
import subprocess
from pathlib import Path

from PIL import Image

_NAMES = ("magick", "convert-im6.q16", "convert")


def imagemagick() -> str | None:
    """Return the path of its program, or None."""
    for path in filter(None, map(shutil.which, _NAMES)):
        version = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
        if version.stdout.startswith("Version: ImageMagick"):
            return path
    return None


_ORIENTATIONS = ("TopLeft", "TopRight", "BottomRight", "BottomLeft", "LeftTop", "RightTop", "RightBottom", "LeftBottom")
"""Its names for the orientations of Exif, which begin at 1."""


def shown(
    program: str, photo: Path, size: tuple[int, int], *, srgb: Path, orientation: int | None = None
) -> Image.Image:
    """Return the first image of a file upright, in sRGB and at this size.

    Args:
        program: The path of the program.
        photo: The file.
        size: The width and height in pixels.
        srgb: A file with the profile of sRGB.
        orientation: The orientation of the photo, if it does not read that itself.
    """
    oriented = [] if orientation is None else ["-orient", _ORIENTATIONS[orientation - 1]]
    options = [
        *oriented,
        "-auto-orient",
        "-profile",
        str(srgb),
        "-filter",
        "Lanczos",
        "-resize",
        f"{size[0]}x{size[1]}!",
    ]
    command = [program, f"{photo}[0]", *options, "png32:-"]
    converted = subprocess.run(command, capture_output=True, check=True)
    return Image.open(io.BytesIO(converted.stdout))


def formats(program: str) -> set[str]:
    """Return the names of the formats that it can read."""
    listed = subprocess.run([program, "-list", "format"], capture_output=True, text=True, check=True)
    rows = (line.split() for line in listed.stdout.splitlines())
    return {row[0].rstrip("*") for row in rows if len(row) > 2 and row[2].startswith("r")}
