"""The choice between removing metadata and keeping it."""

import io

import pytest
from PIL import ExifTags, Image

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.kinds import ANYTHING, KNOWN, Kind
from recipe_api.photos.metadata import FILTERS, PhotoMetadata, stream_of, unfilterable
from recipe_api.settings import DEFAULT_PHOTO_TYPES
from tests.support.samples import sample

JPEG = KNOWN["image/jpeg"]


def kept(photo: bytes, kind: Kind = JPEG, *, chunk: int = 100) -> tuple[bytes, Dimensions | None]:
    stream = stream_of(kind, PhotoMetadata.KEEP)
    stored = b"".join(
        piece for at in range(0, len(photo), chunk) for piece in stream.feed(memoryview(photo)[at : at + chunk])
    )
    return stored + b"".join(stream.close()), stream.dimensions


def test_all_types_that_are_accepted_by_default_have_a_filter() -> None:
    assert unfilterable(DEFAULT_PHOTO_TYPES) == []
    assert set(FILTERS) <= set(KNOWN)


def test_a_type_without_a_filter_cannot_be_stored_without_its_metadata() -> None:
    assert unfilterable(["image/png", "image/tiff"]) == ["image/tiff"]
    with pytest.raises(KeyError):
        stream_of(KNOWN["image/tiff"], PhotoMetadata.REMOVE)


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1_000_000])
def test_a_photo_that_is_kept_stays_as_it_is_and_has_its_dimensions(chunk: int) -> None:
    photo = sample("hopper.jpg")

    assert kept(photo, chunk=chunk) == (photo, Dimensions(128, 128))


@pytest.mark.parametrize(("name", "chunk"), [("png", 10), ("webp", 10), ("png", 1_000_000), ("webp", 1_000_000)])
def test_a_photo_that_is_kept_is_measured_with_the_orientation_that_comes_late(name: str, chunk: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (30, 20)).save(file, name, exif=exif, icc_profile=bytes(1000))
    photo = file.getvalue()

    assert kept(photo, KNOWN[f"image/{name}"], chunk=chunk) == (photo, Dimensions(20, 30))


def test_a_photo_that_is_kept_has_the_dimensions_that_precede_a_malformed_part() -> None:
    photo = sample("pil136.png")
    photo = photo[:33] + b"\xff" * 100

    assert kept(photo, KNOWN["image/png"], chunk=1000)[1] == Dimensions(55, 43)


def test_a_malformed_photo_is_kept_without_dimensions() -> None:
    photo = b"\xff\xd8\xff\xe0\x00\x00" + bytes(1000)

    assert kept(photo) == (photo, None)


def test_a_file_of_an_unknown_type_is_kept_without_dimensions() -> None:
    assert kept(b"anything", ANYTHING) == (b"anything", None)


def test_what_is_recorded() -> None:
    assert PhotoMetadata("remove").result == "removed"
    assert PhotoMetadata("keep").result == "kept"


@pytest.mark.parametrize("setting", PhotoMetadata)
def test_a_photo_that_stops_arriving_does_not_stay_in_memory(setting: PhotoMetadata) -> None:
    """Not even until the garbage collector runs."""
    chunk = bytearray(b"\xff\xd8" + bytes(1000))  # the filter waits for a marker
    with stream_of(JPEG, setting) as stream:
        stream.feed(memoryview(chunk))

    chunk.append(0)  # raises if a view of it is left


def test_a_photo_that_is_kept_does_not_stay_in_memory_once_its_dimensions_are_known() -> None:
    chunk = bytearray(sample("hopper.jpg")[:-100])
    with stream_of(JPEG, PhotoMetadata.KEEP) as stream:
        stream.feed(memoryview(chunk))
        assert stream.dimensions is not None

        chunk.append(0)  # raises if a view of it is left
