"""The decoders, one for each type of photo.

Opening a photo reads only its header, from which the decoder estimates the memory that the pixels need. So a photo
that is too large is rejected before anything is allocated. The estimates are lower bounds, because the memory limit of
the process covers the rest. For a JPEG, the estimate is an upper bound, because libjpeg reports exhausted memory as a
damaged photo.

Only the decoder for the photo's type is imported. Its class is called directly, because `Image.open` imports others.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast

from PIL import Image, ImageFile
from PIL.ExifTags import Base

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.renditions.child.photo_input import PhotoInput, Readable
from recipe_api.photos.renditions.child.rows import Rows, RowsOfBuffer, RowsOfImage

if TYPE_CHECKING:
    from pillow_heif import HeifImage

_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2}
"""Bytes per pixel in Pillow's image modes; 4 in all others."""
_JPEG_END = b"\xff\xd9"
_ORIENTATIONS = range(1, 9)


class Photo(ABC):
    """A photo whose header has been read."""

    stored: Dimensions
    """The dimensions before the orientation is applied."""
    orientation = 1
    """The Exif orientation. It is known once the photo has been decoded."""
    profile: bytes | None = None
    """The ICC profile. It is known once the photo has been decoded."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """The estimated memory that decoding needs."""

    @abstractmethod
    def decode(self) -> Rows:
        """Decode the photo and return its pixels."""

    def reduce_to(self, target: Dimensions) -> None:  # noqa: B027 - most decoders cannot
        """Let `decode` return a smaller image, but not smaller than `target`, if the decoder supports that."""


def open_photo(raw: Readable, content_type: str) -> Photo:
    """Read the header of a photo.

    Args:
        raw: The stream with the photo.
        content_type: Its type.

    Raises:
        Exception: The photo is damaged. Pillow's decoders raise exceptions of any type.
    """
    return _DECODERS[content_type](raw)


class _PillowPhoto(Photo):
    """A photo that Pillow decodes."""

    def __init__(self, image: ImageFile.ImageFile) -> None:
        self._image = image
        self.stored = Dimensions(*image.size)
        self.orientation = _orientation(image.info.get("exif"))
        self.profile = image.info.get("icc_profile")

    @property
    def memory_bytes(self) -> int:
        return _pixels(self.stored) * _BYTES_PER_PIXEL.get(self._image.mode, 4)

    def decode(self) -> Rows:
        self._image.load()
        return RowsOfImage(self._image)


class _ArrivingPhoto(_PillowPhoto):
    """A photo that is decoded while it arrives. If it is damaged or truncated, its first rows are shown.

    The first image of a GIF may be smaller than its screen.
    """

    def __init__(self, image: ImageFile.ImageFile, file: PhotoInput) -> None:
        super().__init__(image)
        self._file = file

    def decode(self) -> Rows:
        image = self._image
        self._file.drop_what_is_read()
        left, upper, right, lower = image.tile[0][1] or (0, 0, *image.size)
        try:
            image.load()
        except MemoryError:
            raise
        except Exception:
            image.tile = []  # so that Pillow does not try to decode it again
            decoded = image.getbbox()  # the box of all pixels that are not zero
            if decoded is None:
                raise
            lower = min(lower, decoded[3])
        shown = (left, upper, right, lower)
        return RowsOfImage(image, shown=None if shown == (0, 0, *image.size) else shown)


class _Jpeg(_ArrivingPhoto):
    """A JPEG, which is decoded to a half, a quarter or an eighth of its size if that suffices.

    One with several scans, such as a progressive one, is decoded when all of them have arrived. If they are truncated,
    the photo is less sharp. One with a single scan is decoded row by row.
    """

    def __init__(self, raw: Readable) -> None:
        from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415 - only the decoder of this type

        file = PhotoInput(raw)
        super().__init__(JpegImageFile(cast("IO[bytes]", file)), file)
        self._channels = len(self._image.getbands())
        self._has_several_scans = "progressive" in self._image.info or not self._has_one_scan()

    @property
    def memory_bytes(self) -> int:
        """Four bytes per pixel after the reduction, and with several scans, two per coefficient."""
        coefficients = self._channels * _pixels(self.stored) if self._has_several_scans else 0
        return 4 * _pixels(Dimensions(*self._image.size)) + 2 * coefficients

    def reduce_to(self, target: Dimensions) -> None:
        self._image.draft(None, target)

    def decode(self) -> Rows:
        if not self._has_several_scans:
            return super().decode()
        self._file.end_with(_JPEG_END)
        self._file.drop_what_is_read()
        return _PillowPhoto.decode(self)  # an error may be exhausted memory

    def _has_one_scan(self) -> bool:
        """Return whether the first scan, whose header was read last, has all channels."""
        at = self._file.tell()
        self._file.seek(-2 * self._channels - 8, io.SEEK_CUR)
        marker, _, channels = self._file.read(2), self._file.read(2), self._file.read(1)
        self._file.seek(at)
        return marker == b"\xff\xda" and channels[0] == self._channels


class _Webp(_PillowPhoto):
    """A WebP. libwebp allocates two canvases when it opens a file, so the dimensions are read before that."""

    def __init__(self, raw: Readable) -> None:
        self._data = raw.read(-1) or b""
        self.stored = _webp_canvas(self._data[:30])

    @property
    def memory_bytes(self) -> int:
        """The two canvases of libwebp, the frame that it returns, and Pillow's image."""
        return 16 * _pixels(self.stored)

    def decode(self) -> Rows:
        from PIL.WebPImagePlugin import WebPImageFile  # noqa: PLC0415 - only the decoder of this type

        super().__init__(WebPImageFile(io.BytesIO(self._data)))
        return super().decode()


class _Avif(_PillowPhoto):
    """An AVIF."""

    def __init__(self, raw: Readable) -> None:
        from PIL import AvifImagePlugin  # noqa: PLC0415 - only the decoder of this type

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        super().__init__(AvifImagePlugin.AvifImageFile(io.BytesIO(raw.read(-1) or b"")))

    @property
    def memory_bytes(self) -> int:
        """The frame in YUV 4:2:0, the one that libavif returns, and Pillow's image."""
        return round((1.5 + len(self._image.getbands()) + 4) * _pixels(self.stored))


class _Heif(Photo):
    """A HEIC or HEIF. libheif applies the orientation."""

    def __init__(self, raw: Readable) -> None:
        import pillow_heif  # noqa: PLC0415 - only the decoder of this type

        options = pillow_heif.options
        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
        file = pillow_heif.open_heif(raw.read(-1) or b"", convert_hdr_to_8bit=True, remove_stride=False)
        self._image: HeifImage = file[file.primary_index]
        self.stored = Dimensions(*self._image.size)
        self.profile = cast("bytes | None", self._image.info.get("icc_profile"))

    @property
    def memory_bytes(self) -> int:
        """The image in YUV 4:2:0, and the one that libheif returns."""
        return round((1.5 + len(self._image.mode)) * _pixels(self.stored))

    def decode(self) -> Rows:
        image = self._image
        data = image.data
        return RowsOfBuffer(data, Dimensions(*image.size), stride=image.stride, mode=image.mode)


def _open_png(raw: Readable) -> Photo:
    from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415 - only the decoder of this type

    file = PhotoInput(raw)
    return _ArrivingPhoto(PngImageFile(cast("IO[bytes]", file)), file)


def _open_gif(raw: Readable) -> Photo:
    from PIL.GifImagePlugin import GifImageFile  # noqa: PLC0415 - only the decoder of this type

    file = PhotoInput(raw)
    return _ArrivingPhoto(GifImageFile(cast("IO[bytes]", file)), file)


_DECODERS: dict[str, Callable[[Readable], Photo]] = {
    "image/jpeg": _Jpeg,
    "image/png": _open_png,
    "image/gif": _open_gif,
    "image/webp": _Webp,
    "image/avif": _Avif,
    "image/heic": _Heif,
    "image/heif": _Heif,
}


def _pixels(dimensions: Dimensions) -> int:
    return dimensions.width * dimensions.height


def _orientation(exif: bytes | None) -> int:
    """Return the Exif orientation; 1 if it is missing, or if the metadata is damaged."""
    if not exif:
        return 1
    tags = Image.Exif()
    with suppress(Exception):  # Pillow's parsers raise exceptions of any type
        tags.load(exif)
    orientation = tags.get(Base.Orientation)
    return orientation if isinstance(orientation, int) and orientation in _ORIENTATIONS else 1


def _webp_canvas(head: bytes) -> Dimensions:
    """Return the dimensions (RFC 9649, sections 2.5 to 2.7).

    Raises:
        ValueError: This is not a WebP file.
    """
    chunk = head[12:16]
    if chunk == b"VP8X":
        return Dimensions(*(int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27)))
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return Dimensions((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 ":
        return Dimensions(*(int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28)))
    raise ValueError("The first chunk is not one of WebP's.")
