"""Renditions look like the output of other programs for the same photo: ImageMagick, and a browser."""

import base64
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Page

from tests.photos.renditions.making import CONTENT_TYPES, coffee, encoded, oriented
from tests.photos.renditions.profiles import LINEAR_GREY, P3, SRGB
from tests.photos.renditions.similarity import similarity
from tests.photos.renditions.streams import rendered
from tests.support import imagemagick
from tests.support.chromium import browsing, required_chromium
from tests.support.samples import sample

pytestmark = pytest.mark.slow

ALIKE = 0.92
"""The results of two programs that shrink a photo and encode it as WebP are more similar than that."""
TURNED = [(file_format, number) for file_format in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF") for number in range(1, 9)]


def marks_of(file_format: str, orientation: int) -> list[pytest.MarkDecorator]:
    """Return the marks of a case. For types other than JPEG, only `--all` runs more than a quarter turn."""
    return [] if file_format == "JPEG" or orientation == 6 else [pytest.mark.exhaustive]


@pytest.fixture(scope="module")
def program() -> str:
    found = imagemagick.imagemagick()
    if found is None:
        pytest.skip("ImageMagick is not installed (Debian: imagemagick)")
    return found


@pytest.fixture(scope="module")
def formats(program: str) -> set[str]:
    return imagemagick.formats(program)


@pytest.fixture(scope="module")
def srgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profiles") / "srgb.icc"
    path.write_bytes(SRGB)
    return path


@pytest.fixture(scope="module")
async def browser_page() -> AsyncIterator[Page]:
    async with browsing(required_chromium()) as browser:
        yield await browser.new_page()


async def rendition(photo: bytes, content_type: str, *, size: int = 320) -> Image.Image:
    result = await rendered(photo, content_type, sizes=(size,))
    return Image.open(io.BytesIO(result.renditions[0].data))


def as_webp(image: Image.Image) -> Image.Image:
    """Return the image after the lossy encoding of a rendition."""
    return Image.open(io.BytesIO(encoded(image, "WEBP", quality=80, method=2)))


@pytest.mark.parametrize(
    ("file_format", "orientation"),
    [*(pytest.param(*turned, marks=marks_of(*turned)) for turned in TURNED), ("GIF", 1)],
)
async def test_imagemagick_shows_every_type_and_orientation_alike(
    file_format: str, orientation: int, program: str, formats: set[str], srgb: Path, tmp_path: Path
) -> None:
    name = "HEIC" if file_format == "HEIF" else file_format
    if name not in formats:
        pytest.skip(f"this ImageMagick does not read {name}")
    photo = oriented(coffee(), file_format, orientation)
    path = tmp_path / f"photo.{name.lower()}"
    path.write_bytes(photo)
    ours = await rendition(photo, CONTENT_TYPES[file_format])
    known = orientation if file_format in {"PNG", "WEBP"} else None  # ImageMagick does not read the Exif of these
    theirs = imagemagick.shown(program, path, ours.size, srgb=srgb, orientation=known)
    assert similarity(ours, as_webp(theirs)) > ALIKE


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("hopper.jpg", "image/jpeg"),
        ("hopper_16bit_qtables.jpg", "image/jpeg"),
        ("pil136.png", "image/png"),
        ("hopper.gif", "image/gif"),
        ("dispose_prev.gif", "image/gif"),
        ("hopper.webp", "image/webp"),
        ("hopper.avif", "image/avif"),
        ("hopper.heif", "image/heif"),
    ],
)
async def test_imagemagick_shows_real_photos_alike(
    name: str, content_type: str, program: str, formats: set[str], srgb: Path, tmp_path: Path
) -> None:
    kind = content_type.removeprefix("image/").upper()
    if kind.replace("HEIF", "HEIC") not in formats:
        pytest.skip(f"this ImageMagick does not read {kind}")
    path = tmp_path / name
    path.write_bytes(sample(name))
    ours = await rendition(sample(name), content_type, size=100)
    assert similarity(ours, as_webp(imagemagick.shown(program, path, ours.size, srgb=srgb))) > ALIKE


async def shown_by(page: Page, photo: bytes, content_type: str, size: tuple[int, int]) -> Image.Image:
    """Return what a browser shows of a photo, before it shrinks it."""
    shown = await page.evaluate(
        """async ([photo, type, width, height]) => {
            const image = new Image();
            image.src = `data:${type};base64,${photo}`;
            await new Promise((resolve) => { image.onload = image.onerror = resolve; });
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL();
        }""",
        [base64.b64encode(photo).decode(), content_type, *size],
    )
    image = Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2])))
    return image.resize(size, Image.Resampling.LANCZOS)


def truncated(photo: bytes) -> bytes:
    return photo[: len(photo) * 6 // 10]


def with_first_image_in_a_corner() -> bytes:
    """Return a GIF whose first image does not fill its screen."""
    photo = bytearray(encoded(coffee(300, 200).quantize(), "GIF", interlace=0))
    photo[6:10] = (400).to_bytes(2, "little") + (320).to_bytes(2, "little")
    return bytes(photo)


def translucent() -> Image.Image:
    image = coffee()
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image


@pytest.mark.parametrize(
    ("photo", "content_type"),
    [
        *(
            pytest.param(
                lambda f=f, n=n: oriented(coffee(), f, n),
                CONTENT_TYPES[f],
                id=f"{f}, orientation {n}",
                marks=marks_of(f, n),
            )
            for f, n in TURNED
            if f not in {"HEIF", "WEBP"}  # Chromium does not show the one, and ignores the orientation of the other
        ),
        *(
            pytest.param(lambda f=f: encoded(coffee(), f, icc_profile=P3), CONTENT_TYPES[f], id=f"{f}, Display P3")
            for f in ("JPEG", "PNG", "WEBP", "AVIF")
        ),
        *(
            pytest.param(lambda f=f: encoded(translucent(), f), CONTENT_TYPES[f], id=f"{f}, translucent")
            for f in ("PNG", "WEBP", "AVIF", "GIF")
        ),
        pytest.param(lambda: encoded(coffee().convert("CMYK"), "JPEG"), "image/jpeg", id="JPEG, CMYK"),
        pytest.param(lambda: encoded(coffee().convert("L"), "JPEG"), "image/jpeg", id="JPEG, grey"),
        pytest.param(lambda: encoded(coffee().convert("1"), "PNG"), "image/png", id="PNG, black and white"),
        pytest.param(lambda: encoded(coffee().quantize(16), "PNG", bits=4), "image/png", id="PNG, 16 colours"),
        pytest.param(
            lambda: encoded(coffee().convert("L"), "PNG", icc_profile=LINEAR_GREY), "image/png", id="PNG, linear grey"
        ),
        pytest.param(lambda: truncated(encoded(coffee(), "JPEG")), "image/jpeg", id="JPEG, truncated"),
        pytest.param(
            lambda: truncated(encoded(coffee(), "JPEG", progressive=True)),
            "image/jpeg",
            id="JPEG, progressive, truncated",
        ),
        pytest.param(lambda: truncated(encoded(coffee(), "PNG")), "image/png", id="PNG, truncated"),
        pytest.param(lambda: truncated(encoded(translucent(), "PNG")), "image/png", id="PNG, translucent, truncated"),
        pytest.param(lambda: truncated(encoded(coffee(), "GIF", interlace=0)), "image/gif", id="GIF, truncated"),
        pytest.param(with_first_image_in_a_corner, "image/gif", id="GIF, first image in a corner"),
        pytest.param(lambda: sample("dispose_prev.gif"), "image/gif", id="GIF, animated"),
        pytest.param(lambda: sample("truncated_jpeg.jpg"), "image/jpeg", id="truncated_jpeg.jpg"),
        pytest.param(lambda: sample("frame_size.mpo"), "image/jpeg", id="frame_size.mpo"),
    ],
)
async def test_a_browser_shows_photos_alike(photo: Callable[[], bytes], content_type: str, browser_page: Page) -> None:
    ours = await rendition(photo(), content_type)
    expected = as_webp(await shown_by(browser_page, photo(), content_type, ours.size))
    assert similarity(ours, expected) > ALIKE
