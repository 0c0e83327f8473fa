"""What the gallery of the page transfers, and how soon it shows its largest photo, on a connection of 10 Mbit/s.

    python benchmarks/gallery.py

Starts PostgreSQL, SeaweedFS and `recipe-api serve` in a temporary folder, uploads 24 photos like a camera's, waits for
their renditions, and opens the page in this machine's Chromium, which emulates the connection. A visit ends at the end
of the page, when all photos are there. Nothing is cached between visits. The last line is without renditions.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import camera
import httpx
from playwright.async_api import Browser, async_playwright
from soak import serving

PHOTOS = 24
BYTES_PER_SECOND = 10_000_000 / 8
LATENCY_MS = 40
VISITS = 5
RENDER_SECONDS = 300
_SERVER = str(Path(sys.executable).parent / "recipe-api")
_LARGEST_PAINT = """new Promise((resolve) => new PerformanceObserver((list) => {
    resolve(list.getEntries().at(-1).startTime);
}).observe({ type: "largest-contentful-paint", buffered: true }))"""
_TO_THE_END = """(async (count) => {
    const isLoaded = ({ complete, naturalWidth }) => complete && naturalWidth;
    for (;;) {
        const images = [...document.querySelectorAll("#tiles img")];
        if (images.length === count && images.every(isLoaded)) return;
        scrollTo(0, document.body.scrollHeight);
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A window in which the page is opened."""

    name: str
    size: tuple[int, int]
    scale: float = 1
    is_phone: bool = False


LAPTOP = Screen(name="laptop, 1280 x 800", size=(1280, 800))
SCREENS = (
    LAPTOP,
    Screen(name="laptop with 2 pixels per CSS pixel", size=(1280, 800), scale=2),
    Screen(name="phone, 390 x 844, with 3", size=(390, 844), scale=3, is_phone=True),
)


@dataclass  # without slots: Playwright adds attributes to an object with handlers
class Visit:
    """What one visit transferred, headers included, and when it showed its largest photo."""

    photo_bytes: int = 0
    other_bytes: int = 0
    largest_paint_seconds: float = 0
    _types: dict[str, str] = field(default_factory=dict)

    def on_request(self, event: dict[str, Any]) -> None:
        """Note the type of a request, and count the redirect that led to it."""
        self._types[event["requestId"]] = event.get("type", "Other")
        if redirect := event.get("redirectResponse"):
            self._count(event["requestId"], redirect["encodedDataLength"])

    def on_finished(self, event: dict[str, Any]) -> None:
        """Count a response."""
        self._count(event["requestId"], event["encodedDataLength"])

    def _count(self, request_id: str, size: float) -> None:
        if self._types.get(request_id) == "Image":
            self.photo_bytes += int(size)
        else:
            self.other_bytes += int(size)


async def visit(browser: Browser, url: str, screen: Screen) -> Visit:
    """Open the page without a cache, and wait until all photos have been loaded."""
    context = await browser.new_context(
        viewport={"width": screen.size[0], "height": screen.size[1]},
        device_scale_factor=screen.scale,
        is_mobile=screen.is_phone,
        has_touch=screen.is_phone,
    )
    context.set_default_timeout(0)
    page = await context.new_page()
    seen = Visit()
    network = await context.new_cdp_session(page)
    network.on("Network.requestWillBeSent", seen.on_request)
    network.on("Network.loadingFinished", seen.on_finished)
    await network.send("Network.enable")
    await network.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": LATENCY_MS,
            "downloadThroughput": BYTES_PER_SECOND,
            "uploadThroughput": BYTES_PER_SECOND,
        },
    )
    await page.goto(url, wait_until="load")
    await page.wait_for_load_state("networkidle")  # a scroll ends the search for the largest paint
    seen.largest_paint_seconds = await page.evaluate(_LARGEST_PAINT) / 1000
    await page.evaluate(_TO_THE_END, PHOTOS)
    await context.close()
    return seen


def upload(url: str, *, with_renditions: bool) -> int:
    """Upload the photos, wait for their renditions, and return the number of bytes that were sent."""
    sent = 0
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for number in range(PHOTOS):
            photo = camera.photo()
            sent += len(photo)
            form = {"label": f"Clouds {number + 1}"}
            client.post("/recipe", data=form, files={"photo": ("clouds.jpg", photo)}).raise_for_status()
        deadline = time.monotonic() + RENDER_SECONDS
        while with_renditions and any(item["placeholder"] is None for item in client.get("/recipe").json()["items"]):
            if time.monotonic() > deadline:
                raise SystemExit("the renditions are not there")
            time.sleep(0.5)
    return sent


async def measure(url: str, *, screens: tuple[Screen, ...], visits: int) -> None:
    """Print a line for each screen: bytes, and the median of the largest paints."""
    async with async_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        if path is None:
            raise SystemExit("no Chromium is installed")
        browser = await playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        for screen in screens:
            made = [await visit(browser, url, screen) for _ in range(visits)]
            paints = [each.largest_paint_seconds for each in made]
            print(
                f"{screen.name:36} photos {made[-1].photo_bytes / 1000:9,.0f} kB   "
                f"the rest {made[-1].other_bytes / 1000:5.1f} kB   "
                f"largest paint {statistics.median(paints):6.2f} s ({min(paints):.2f} to {max(paints):.2f})",
                flush=True,
            )
        await browser.close()


def main() -> None:
    """Measure with renditions, and once without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renditions", default="320,960,1920", help="their sizes (default: %(default)s)")
    sizes: str = parser.parse_args().renditions
    for renditions in (sizes, "none"):
        environment = {"RENDITIONS": renditions, "MAX_UPLOADS_PER_CLIENT": "400"}
        with (
            tempfile.TemporaryDirectory(prefix="gallery-") as folder,
            serving(Path(folder), command=_SERVER, environment=environment) as (url, _),
        ):
            sent = upload(url, with_renditions=renditions == sizes)
            print(f"{PHOTOS} photos of {sent / PHOTOS / 1e6:.1f} MB, RENDITIONS={renditions}", flush=True)
            if renditions == sizes:
                asyncio.run(measure(url, screens=SCREENS, visits=VISITS))
            else:
                asyncio.run(measure(url, screens=(LAPTOP,), visits=1))


if __name__ == "__main__":
    main()
