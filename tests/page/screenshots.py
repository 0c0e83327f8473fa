"""Takes the pictures of the page for README.md and docs/page.md; `scripts/screenshots` runs this."""

import argparse
import asyncio
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.async_api import Browser, Locator, Page, StorageState, expect

from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import embedded_stack
from recipe_api.settings import Settings
from tests.page.dishes import DISHES
from tests.support.chromium import MISSING, browsing, chromium
from tests.support.forms import jpeg
from tests.support.proxy import Fault, Plan
from tests.support.service import Service, running
from tests.support.service_proxy import ServiceProxy, proxied

FOLDER = Path("docs/images")
_COLOURS = 160  # enough for a page, and less than half of the bytes
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A window size and colour scheme."""

    size: tuple[int, int] = (1000, 780)
    scheme: Literal["light", "dark"] = "light"
    is_phone: bool = False


USUAL = Variant()


class Camera:
    """Opens the page and takes pictures of it."""

    def __init__(self, browser: Browser, folder: Path, photos: dict[str, bytes], files: Path) -> None:
        self.browser = browser
        self.folder = folder
        self.photos = photos
        self.files = files

    def file(self, label: str, *, size: int = 0) -> Path:
        """Write a dish to a file, padded to at least `size` bytes so that its upload takes time."""
        photo = self.photos[label]
        return self.write(label, photo + jpeg(max(size - len(photo), 0)))

    def write(self, label: str, content: bytes) -> Path:
        file = self.files / f"{label.replace(',', '')}.jpg".replace(" ", "-").lower()
        file.write_bytes(content)
        return file

    async def open(self, url: str, variant: Variant = USUAL, kept: StorageState | None = None) -> Page:
        """Open the page with the browser storage of an earlier visit."""
        width, height = variant.size
        page = await self.browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme=variant.scheme,
            has_touch=variant.is_phone,
            is_mobile=variant.is_phone,
            device_scale_factor=1.5 if variant.is_phone else 1,
            storage_state=kept,
        )
        await page.goto(url)
        await expect(page.get_by_text("Loading …")).to_be_hidden()
        return page

    async def take(self, page: Page, name: str) -> None:
        await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        await page.mouse.move(0, 0)
        await page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")
        picture = Image.open(io.BytesIO(await page.screenshot()))
        few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        few.save(self.folder / f"{name}.png", optimize=True)
        await page.close()


async def choose(page: Page, *files: tuple[str, Path]) -> None:
    """Choose files, each with its label."""
    await page.get_by_label("Choose a photo").set_input_files([file for _, file in files])
    for label, file in files:
        await form(page, file).get_by_label("Label").fill(label)


def form(page: Page, file: Path) -> Locator:
    """Return the queue row of a file."""
    return page.get_by_role("form", name=file.name)


async def take_error(camera: Camera, proxy: ServiceProxy) -> None:
    """Take an upload whose connection broke, and a file that is not a photo."""
    soup = camera.file("Tomato soup", size=_MIB)
    notes = camera.write("Shopping list", b"eggs, milk, flour")
    page = await camera.open(proxy.url, Variant(size=(1000, 700)))
    await choose(page, ("Tomato soup", soup), ("Shopping list", notes))
    proxy.script.follow(Plan(call="POST /recipe", fault=Fault.RESET, forever=True))
    await form(page, soup).get_by_role("button", name="Upload").click()
    await expect(form(page, soup).get_by_role("button", name="Try again")).to_be_visible()
    proxy.script.follow()
    await form(page, notes).get_by_role("button", name="Upload").click()
    await expect(page.locator(".refused")).to_be_visible()
    await camera.take(page, "error")


async def take_uploading(camera: Camera, proxy: ServiceProxy) -> None:
    """Take three uploads, two of them in progress."""
    page = await camera.open(proxy.url)
    proxy.script.follow(Plan(call="POST /recipe", fault=Fault.HELD, forever=True))
    sizes = {"Shakshuka": 14 * _MIB, "Summer salad": 28 * _MIB, "Lemon cake": 0}
    await choose(page, *((label, camera.file(label, size=size)) for label, size in sizes.items()))
    await page.get_by_role("button", name="Upload all").click()
    await expect(page.get_by_text(" left")).to_have_count(2)
    await camera.take(page, "uploading")
    proxy.script.follow()


async def take_galleries(camera: Camera, service: Service) -> None:
    """Take the gallery in light mode, in dark mode and on a phone, and one of its photos in the large view."""
    page = await camera.open(service.url)
    for labels in (list(DISHES)[:4], list(DISHES)[4:]):
        await choose(page, *((label, camera.file(label)) for label in labels))
        await page.get_by_role("button", name="Upload all").click()
        await expect(page.locator("#queue li")).to_have_count(0)
    kept = await page.context.storage_state()
    for name, variant in {
        "gallery": USUAL,
        "dark": Variant(scheme="dark"),
        "narrow": Variant(size=(360, 780), is_phone=True),
    }.items():
        page = await camera.open(service.url, variant, kept)
        await expect(page.locator("#tiles h3")).to_have_count(len(DISHES))
        await camera.take(page, name)
    page = await camera.open(service.url, kept=kept)
    await page.get_by_role("link", name="Ramen with two eggs").click()
    await expect(page.locator("#viewer .photo > *")).to_have_count(1)
    await camera.take(page, "viewer")


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    browser_path = chromium()
    if browser_path is None:
        raise SystemExit(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    photos = {label: drawn() for label, drawn in DISHES.items()}

    async def work(service: Service, proxy: ServiceProxy) -> None:
        async with browsing(browser_path) as browser:
            camera = Camera(browser, folder, photos, Path(files))
            await take_error(camera, proxy)
            await take_galleries(camera, service)
            await take_uploading(camera, proxy)  # last, as photos that lie in buffers may be stored after all

    with serving() as service, proxied(service) as proxy, tempfile.TemporaryDirectory() as files:
        asyncio.run(work(service, proxy))


@contextmanager
def serving() -> Iterator[Service]:
    """Run the service as `scripts/dev` does, on a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, embedded_stack(Path(folder), durable=False) as stack:
        migrate(stack.database_url)
        settings = Settings.from_environment({**stack.environment(), "SECRET_KEY": "s" * 32, "LOG_LEVEL": "warning"})
        with running(settings) as service:
            yield service


if __name__ == "__main__":
    main()
