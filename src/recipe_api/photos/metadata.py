"""Removes a photo's metadata with the filter for its type, or keeps it, as `PHOTO_METADATA` says."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal, Protocol, Self

from recipe_api.errors import PhotoMalformed
from recipe_api.photos.filtering import Dimensions, PhotoFilter
from recipe_api.photos.gif import GifFilter
from recipe_api.photos.heif import HeifFilter
from recipe_api.photos.jpeg import JpegFilter
from recipe_api.photos.kinds import Kind
from recipe_api.photos.png import PngFilter
from recipe_api.photos.webp import WebpFilter

FILTERS: dict[str, type[PhotoFilter]] = {
    "image/jpeg": JpegFilter,
    "image/png": PngFilter,
    "image/gif": GifFilter,
    "image/webp": WebpFilter,
    "image/avif": HeifFilter,
    "image/heic": HeifFilter,
    "image/heif": HeifFilter,
}
"""The filter for each content type whose metadata can be removed."""


class PhotoMetadata(StrEnum):
    """The values of `PHOTO_METADATA`."""

    REMOVE = "remove"
    KEEP = "keep"

    @property
    def result(self) -> Literal["removed", "kept"]:
        """What the recipe records about a photo that is stored with this setting."""
        return "removed" if self is PhotoMetadata.REMOVE else "kept"


class PhotoStream(Protocol):
    """A photo on its way to the store. As a context manager, it releases the photo even if that is incomplete."""

    @property
    def dimensions(self) -> Dimensions | None:
        """The dimensions, once they have been read."""

    def feed(self, data: memoryview) -> Sequence[memoryview]:
        """Return the bytes to store for the next bytes of the photo.

        Raises:
            PhotoMalformed: The metadata cannot be removed.
        """

    def close(self) -> Sequence[memoryview]:
        """Return the bytes to store after the last bytes of the photo.

        Raises:
            PhotoMalformed: The metadata cannot be removed.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class _Unchanged:
    """A photo that is stored unchanged. A filter only reads the dimensions, and stops when they are final."""

    def __init__(self, reader: PhotoFilter | None) -> None:
        self._reader = reader
        self.dimensions: Dimensions | None = None

    def feed(self, data: memoryview) -> Sequence[memoryview]:
        if self._reader is not None and not self._measure(self._reader, data):
            self._stop_measuring()
        return (data,)

    def close(self) -> Sequence[memoryview]:
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_measuring()

    def _measure(self, reader: PhotoFilter, data: memoryview) -> bool:
        """Read on, and return whether the dimensions may still change."""
        try:
            reader.feed(data)
        except PhotoMalformed:
            return False
        finally:
            self.dimensions = reader.dimensions
        return not reader.is_measured

    def _stop_measuring(self) -> None:
        if self._reader is not None:
            self._reader.release()
            self._reader = None


def stream_of(kind: Kind, setting: PhotoMetadata) -> PhotoStream:
    """Return a stream for one photo.

    Raises:
        KeyError: The metadata of this type cannot be removed (`unfilterable`).
    """
    if setting is PhotoMetadata.REMOVE:
        return FILTERS[kind.content_type]()
    reads_dimensions = FILTERS.get(kind.content_type)
    return _Unchanged(None if reads_dimensions is None else reads_dimensions())


def unfilterable(content_types: Iterable[str]) -> list[str]:
    """Return those of these content types whose metadata cannot be removed."""
    return [content_type for content_type in content_types if content_type not in FILTERS]
