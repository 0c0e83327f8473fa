"""Photos are opened without being decoded, and decoded as far as they go."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from recipe_api.photos.renditions.child.decoders import open_photo
from tests.photos.renditions.making import CONTENT_TYPES, coffee, encoded, oriented
from tests.support.samples import sample

pytestmark = pytest.mark.slow

LARGE = (4000, 3000)
PIXELS = LARGE[0] * LARGE[1]


class Unread:
    """A photo of which little can be read."""

    def __init__(self, photo: bytes, limit: int) -> None:
        self._file, self._left = io.BytesIO(photo), limit

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        assert self._left > 0, "it reads more than the header"
        return data


def large(file_format: str, mode: str = "RGB", **options: object) -> bytes:
    """Return a photo that is large only in pixels."""
    return encoded(Image.new(mode, LARGE), file_format, **options)


@pytest.mark.parametrize(
    ("photo", "content_type", "per_pixel"),
    [
        pytest.param(lambda: large("PNG"), "image/png", 4, id="PNG"),
        pytest.param(lambda: large("PNG", "L"), "image/png", 1, id="grey PNG"),
        pytest.param(lambda: large("PNG", "1"), "image/png", 1, id="PNG in black and white"),
        pytest.param(lambda: large("GIF", "P"), "image/gif", 1, id="GIF"),
        pytest.param(lambda: large("JPEG"), "image/jpeg", 4, id="JPEG"),
        pytest.param(lambda: large("JPEG", "L"), "image/jpeg", 4, id="grey JPEG"),
        pytest.param(lambda: large("JPEG", progressive=True), "image/jpeg", 4 + 6, id="progressive JPEG"),
        pytest.param(lambda: large("JPEG", "CMYK", progressive=True), "image/jpeg", 4 + 8, id="progressive CMYK"),
    ],
)
def test_what_a_photo_needs_is_known_from_its_header(
    photo: Callable[[], bytes], content_type: str, per_pixel: float
) -> None:
    opened = open_photo(Unread(photo(), 256 * 1024), content_type)
    assert opened.stored == LARGE
    assert opened.memory_bytes == per_pixel * PIXELS


@pytest.mark.parametrize(
    ("file_format", "mode", "per_pixel"),
    [
        ("WEBP", "RGB", 16),
        ("WEBP", "RGBA", 16),
        ("AVIF", "RGB", 8.5),
        ("AVIF", "RGBA", 9.5),
        ("HEIF", "RGB", 4.5),
        ("HEIF", "RGBA", 5.5),
    ],
)
def test_what_other_types_need_is_known_before_they_are_decoded(file_format: str, mode: str, per_pixel: float) -> None:
    image = coffee(60, 40)
    if mode == "RGBA":
        image.putalpha(128)
    photo = encoded(image, file_format)
    assert open_photo(io.BytesIO(photo), CONTENT_TYPES[file_format]).memory_bytes == per_pixel * 60 * 40


def test_a_jpeg_needs_less_if_it_is_reduced() -> None:
    photo = encoded(Image.new("RGB", (4000, 4000)), "JPEG")
    for side, reduction in ((3000, 1), (1500, 2), (1001, 2), (1000, 4), (501, 4), (320, 8), (1, 8)):
        opened = open_photo(io.BytesIO(photo), "image/jpeg")
        opened.reduce_to(opened.stored._replace(width=side, height=side))
        assert opened.memory_bytes == 4 * (4000 // reduction) ** 2
        assert opened.stored == (4000, 4000)


def with_separate_scans(jpeg: bytes) -> bytes:
    """Return a baseline JPEG as if each channel had its own scan, as far as the header."""
    start = jpeg.index(b"\xff\xda")
    return jpeg[:start] + bytes.fromhex("ffda 0008 01 01 00 00 3f 00") + jpeg[start + 14 :]


def test_a_baseline_jpeg_with_several_scans_needs_as_much_as_a_progressive_one() -> None:
    photo = with_separate_scans(encoded(coffee(), "JPEG"))
    assert open_photo(io.BytesIO(photo), "image/jpeg").memory_bytes == (4 + 6) * 600 * 400


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_the_dimensions_of_a_webp_are_read_before_it_is_opened(options: dict[str, object]) -> None:
    photo = encoded(Image.new("RGB", (1234, 567)), "WEBP", **options)
    assert open_photo(io.BytesIO(photo[:30]), "image/webp").stored == (1234, 567)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", bytes(100), b"Exif\0\0MM\0*\xff\xff\xff\xff"]
)
def test_damaged_exif_means_no_orientation(exif: bytes) -> None:
    assert open_photo(io.BytesIO(encoded(coffee(), "JPEG", exif=exif)), "image/jpeg").orientation == 1


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_means_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = encoded(coffee(), "JPEG", exif=exif.tobytes())
    assert open_photo(io.BytesIO(photo), "image/jpeg").orientation == 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_photo_shows_its_first_rows(file_format: str, share: float) -> None:
    image = coffee()
    photo = encoded(image, file_format)
    rows = open_photo(io.BytesIO(photo[: round(len(photo) * share)]), CONTENT_TYPES[file_format]).decode()
    band = rows.band(0, 400)
    alpha = band.getchannel("A").resize((1, 400), Image.Resampling.BOX).tobytes()
    shown = alpha.count(255)
    assert alpha == b"\xff" * shown + bytes(400 - shown)
    assert share - 0.2 < shown / 400 < share + 0.2
    expected = Image.open(io.BytesIO(photo)).convert("RGB").crop((0, 0, 600, shown - 16))
    assert band.convert("RGB").crop((0, 0, 600, shown - 16)) == expected


def test_a_truncated_progressive_jpeg_is_shown_completely_and_less_sharp() -> None:
    photo = encoded(coffee(), "JPEG", progressive=True)
    band = open_photo(io.BytesIO(photo[: len(photo) // 2]), "image/jpeg").decode().band(0, 400)
    assert band.mode == "RGB"
    assert max(band.crop((0, 380, 600, 400)).tobytes()) > 100


def test_a_jpeg_that_lacks_only_its_end_lacks_its_last_blocks_as_in_chromium() -> None:
    band = open_photo(io.BytesIO(encoded(coffee(), "JPEG")[:-2]), "image/jpeg").decode().band(0, 400)
    assert band.getchannel("A").crop((0, 0, 600, 382)).getextrema() == (255, 255)


@pytest.mark.parametrize(("file_format", "head"), [("JPEG", 650), ("PNG", 60), ("GIF", 795)])
def test_a_photo_without_rows_is_an_error(file_format: str, head: int) -> None:
    photo = encoded(coffee(), file_format)[:head]
    with pytest.raises((OSError, SyntaxError)):
        open_photo(io.BytesIO(photo), CONTENT_TYPES[file_format]).decode()


def test_damage_within_a_photo_leaves_the_rows_before_it() -> None:
    photo = bytearray(encoded(coffee(), "PNG"))
    photo[len(photo) // 2] ^= 0xFF
    alpha = open_photo(io.BytesIO(photo), "image/png").decode().band(0, 400).getchannel("A")
    assert alpha.getpixel((0, 0)) == 255
    assert alpha.getpixel((0, 399)) == 0


def test_exhausted_memory_is_not_mistaken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_photo(io.BytesIO(encoded(coffee(), "PNG")), "image/png")
    monkeypatch.setattr("PIL.Image.core.new", fail := raising(MemoryError))
    monkeypatch.setattr("PIL.Image.core.fill", fail)
    with pytest.raises(MemoryError):
        opened.decode()


def raising(error: type[Exception]) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("name", ["frame_size.mpo", "hopper_16bit_qtables.jpg", "truncated_jpeg.jpg"])
def test_unusual_jpegs_are_decoded(name: str) -> None:
    rows = open_photo(io.BytesIO(sample(name)), "image/jpeg").decode()
    assert rows.band(0, rows.dimensions.height).getbbox() is not None


def test_the_orientation_of_every_type_is_read() -> None:
    for file_format in ("JPEG", "PNG", "WEBP", "AVIF"):
        opened = open_photo(io.BytesIO(oriented(coffee(), file_format, 6)), CONTENT_TYPES[file_format])
        opened.decode()
        assert opened.orientation == 6
