"""Converts colours to sRGB."""

import io

from PIL import Image, ImageCms

_SPACES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK"}
"""Pillow's image mode for the colour space in an ICC profile's header."""


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the image in sRGB, as RGB or, if it is not opaque, RGBA.

    Args:
        image: An image in one of the modes L, LA, RGB, RGBA and CMYK.
        profile: Its ICC profile. As in browsers, it is ignored if it is damaged or for another colour space.
    """
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    if alpha is not None:
        image = image.convert(image.mode.removesuffix("A"))
    converted = (_converted(image, profile) if profile else None) or image.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        converted.putalpha(alpha)
    return converted


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Return the image in sRGB, or None if the profile cannot be used."""
    if _SPACES.get(profile[16:20].decode("latin-1")) != image.mode:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, ImageCms.Intent.PERCEPTUAL, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
