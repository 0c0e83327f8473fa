"""Photos of any size that a browser can show, and recipes uploaded without a browser."""

import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops
from PIL.ExifTags import IFD
from playwright.async_api import FilePayload, Page

from tests.support.forms import jpeg
from tests.support.recipes import fetch
from tests.support.service import Service

FOLDER = Path(__file__).parent.parent / "photos"
MIB = 1024 * 1024


def photo(name: str = "pancakes.jpg", *, size: int = 0, source: str = "hopper.jpg") -> FilePayload:
    """Return a file to choose. Padding up to `size` comes after the end of the image, and is not stored."""
    shown = (FOLDER / source).read_bytes()
    return {"name": name, "mimeType": "image/jpeg", "buffer": shown + jpeg(max(size - len(shown), 0))}


def portrait(name: str = "pancakes.jpg") -> FilePayload:
    """Return a photo that is twice as high as it is wide."""
    file = io.BytesIO()
    Image.new("RGB", (300, 600)).save(file, "JPEG")
    return {"name": name, "mimeType": "image/jpeg", "buffer": file.getvalue()}


async def choose(page: Page, *photos: FilePayload) -> None:
    """Choose files as in the browser's own dialog."""
    await page.get_by_label("Choose a photo").set_input_files(photos)


def upload(service: Service, *labels: str, token: str | None = None) -> list[dict[str, Any]]:
    """Upload recipes with these labels, the last one being the newest."""
    with service.client(token) as client:
        files = {"photo": ("p.jpg", photo()["buffer"])}
        responses = [client.post("/recipe", data={"label": label}, files=files) for label in labels]
    return [response.raise_for_status().json() for response in responses]


def assert_position_removed(location: str) -> None:
    """Assert that a stored photo shows the sample with a position, and does not have it any more."""
    stored = Image.open(io.BytesIO(fetch(location).content))
    sent = Image.open(FOLDER / "exif_gps.jpg")
    assert sent.getexif().get_ifd(IFD.GPSInfo)
    assert not stored.getexif().get_ifd(IFD.GPSInfo)
    assert ImageChops.difference(sent, stored).getbbox() is None


def labels(service: Service, token: str | None = None) -> list[str]:
    """Return all recipes, newest first."""
    with service.client(token) as client:
        return [recipe["label"] for recipe in client.get("/recipe").raise_for_status().json()["items"]]
