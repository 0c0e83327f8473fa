"""Which image of a photo the gallery and the large view load, and what they show until it has loaded or if it fails."""

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Locator, Page, Route, expect

from recipe_api.photos.renditions.child.thumbhash import thumbhash
from tests.support.chromium import Visit
from tests.support.photos import FOLDER, choose, photo, upload
from tests.support.service import Service
from tests.support.traces import Backstage, eventually

WIDTHS = (320, 390, 410, 600, 713, 730, 799, 820, 940, 960, 1087, 1100, 1600)
"""Window widths in pixels, on both sides of every point at which the columns change."""
SIZES = """(image) => {
    const probe = document.body.appendChild(document.createElement("div"));
    const [, size] = image.sizes.split(/, (?=\\(|calc)/)
        .map((part) => part.match(/^(\\(.*?\\))? ?(.*)$/).slice(1))
        .map(([media, size]) => [!media || matchMedia(media).matches, size])
        .find(([matches]) => matches);
    probe.style.width = size;
    const { width } = probe.getBoundingClientRect();
    probe.remove();
    return [width, image.getBoundingClientRect().width];
}"""
FILLS_ITS_FRAME = """(element) => {
    const [inner, outer] = [element, element.closest(".photo")].map((it) => JSON.stringify(it.getBoundingClientRect()));
    return inner === outer;
}"""
"""Compares both at one moment, because the frame may move while the page loads."""


@pytest.fixture(scope="module")
def dish() -> bytes:
    """A photo of 1200 by 900 pixels."""
    shade = Image.radial_gradient("L")
    file = io.BytesIO()
    Image.merge("RGB", (Image.linear_gradient("L"), shade, shade.rotate(90))).resize((1200, 900)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    """A service that makes renditions, which the others of the tests do not."""
    return start_service(RENDITIONS="320,960,1920")


def send(service: Service, photo: bytes, *, label: str = "Salad", name: str = "p.jpg") -> dict[str, Any]:
    """Upload a photo from elsewhere, and return its recipe."""
    with service.client() as client:
        answer = client.post("/recipe", data={"label": label}, files={"photo": (name, photo)})
    recipe: dict[str, Any] = answer.raise_for_status().json()
    return recipe


def made(service: Service, recipe: dict[str, Any]) -> dict[str, Any]:
    """Wait until the renditions of a recipe have been made, and return it with them."""
    with service.client() as client:

        def current() -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"/recipe/{recipe['id']}").json()
            return found

        assert eventually(lambda: current()["placeholder"] is not None)
        return current()


def heic() -> bytes:
    return (FOLDER / "hopper.heif").read_bytes()


def picture(page: Page) -> Locator:
    """Return the image of the newest photo in the gallery."""
    return page.locator("#tiles .photo img").first


async def source(image: Locator) -> str:
    """Return the address that the browser has chosen, once it has loaded the image."""
    await expect(image).to_have_js_property("complete", value=True)
    address: str = await image.evaluate("async (image) => { await image.decode(); return image.currentSrc; }")
    return address


async def expect_shown(page: Page) -> None:
    """Expect that the newest photo of the gallery is shown sooner or later."""
    await expect(picture(page)).not_to_have_js_property("naturalWidth", 0)
    await expect(page.locator("#tiles .photo").first).to_have_text("")


class TestTheGallery:
    async def test_loads_the_smallest_rendition_that_is_sharp(
        self, page: Page, service: Service, visit: Visit, dish: bytes
    ) -> None:
        recipe = made(service, send(service, dish))
        await page.goto(service.url)

        assert [each["width"] for each in recipe["renditions"]] == [320, 960, 1200]
        assert await source(picture(page)) == recipe["renditions"][0]["location"]
        assert recipe["location"] not in visit.requests

    async def test_loads_a_larger_one_on_a_denser_screen(self, browser: Browser, service: Service, dish: bytes) -> None:
        recipe = made(service, send(service, dish))
        page = await browser.new_page(viewport={"width": 1000, "height": 800}, device_scale_factor=3)
        await page.goto(service.url)

        assert await source(picture(page)) == recipe["renditions"][1]["location"]
        await page.close()

    async def test_has_renditions_made_when_somebody_looks_at_them(
        self, page: Page, service: Service, backstage: Backstage, dish: bytes
    ) -> None:
        recipe = send(service, dish)
        made(service, recipe)  # they are made after the upload anyway, perhaps before the page has loaded
        await asyncio.to_thread(backstage.sql, "UPDATE recipe SET rendition_sizes = NULL, placeholder = NULL")
        await page.goto(service.url)
        shown = await source(picture(page))

        assert urlsplit(shown).path == recipe["renditions"][0]["location"]  # the route, which redirects
        assert made(service, recipe)["placeholder"]

    @pytest.mark.parametrize("device_scale_factor", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
    async def test_says_how_wide_its_photos_are(
        self, browser: Browser, service: Service, device_scale_factor: int
    ) -> None:
        upload(service, *(f"Dish {number}" for number in range(5)))
        page = await browser.new_page(device_scale_factor=device_scale_factor)
        wrong = []
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            await page.goto(service.url)
            await expect(page.locator("#tiles h3")).to_have_count(5)
            said, actual = await picture(page).evaluate(SIZES)
            wrong += [] if abs(said - actual) < 1 else [(width, said, actual)]

        assert wrong == []
        await page.close()

    async def test_counts_only_the_pixels_that_it_shows_of_a_panorama(self, page: Page, service: Service) -> None:
        file = io.BytesIO()
        Image.effect_noise((4000, 400), 90).convert("RGB").save(file, "JPEG")
        send(service, file.getvalue())
        await page.goto(service.url)

        await expect(picture(page)).to_have_attribute("srcset", re.compile(r"/320 96w,.*/960 288w,.*/1920 576w"))

    async def test_loads_the_original_without_renditions(
        self, page: Page, start_service: Callable[..., Service], dish: bytes
    ) -> None:
        service = start_service(RENDITIONS="none")
        recipe = send(service, dish)
        await page.goto(service.url)

        assert await source(picture(page)) == recipe["location"]

    async def test_loads_renditions_that_another_service_makes(
        self, page: Page, start_service: Callable[..., Service], visit: Visit, dish: bytes
    ) -> None:
        service = start_service(RENDITIONS="320,960", RENDITION_URL="https://img.example.com/w={size},q=80/{key}")
        recipe = send(service, dish)
        await page.route(
            "https://img.example.com/**", lambda route: route.fulfill(body=dish, content_type="image/jpeg")
        )
        await page.goto(service.url)

        assert await source(picture(page)) == f"https://img.example.com/w=320,q=80/{recipe['key']}"
        assert recipe["location"] not in visit.requests

    async def test_loads_renditions_below_a_root_path(
        self, page: Page, start_service: Callable[..., Service], backstage: Backstage, visit: Visit
    ) -> None:
        service = start_service(RENDITIONS="320", ROOT_PATH="/api")
        recipe = made(service, send(service, heic(), name="pie.heic"))
        await asyncio.to_thread(backstage.sql, "UPDATE recipe SET rendition_sizes = NULL")  # to be made again
        await page.goto(f"{service.url}/api")
        await source(picture(page))

        assert f"{service.url}/api/recipe/{recipe['id']}/photo/320" in visit.requests


class TestBeforeARenditionHasLoaded:
    @pytest.fixture
    async def gate(self, page: Page) -> asyncio.Event:
        """An event that lets renditions pass."""
        opened = asyncio.Event()

        async def pass_on(route: Route) -> None:
            await opened.wait()
            await route.continue_()

        await page.route("**/*.webp", pass_on)
        return opened

    async def test_a_photo_is_a_blur(self, page: Page, service: Service, gate: asyncio.Event, dish: bytes) -> None:
        made(service, send(service, dish))
        await page.goto(service.url)
        blur = page.locator("#tiles .photo canvas")
        await expect(blur).to_be_visible()
        assert await blur.evaluate(FILLS_ITS_FRAME)
        gate.set()

        await expect(blur).to_have_count(0)
        await expect_shown(page)

    async def test_the_large_view_shows_the_smaller_picture(
        self, page: Page, service: Service, gate: asyncio.Event, dish: bytes
    ) -> None:
        recipe = made(service, send(service, dish))
        gate.set()
        await page.goto(service.url)
        small = await source(picture(page))
        gate.clear()
        await page.get_by_role("link", name="Salad").click()
        pictures = page.locator("#viewer img")
        await expect(pictures).to_have_count(2)
        assert await source(pictures.first) == small
        assert await pictures.first.bounding_box() == await pictures.last.bounding_box()
        gate.set()

        await expect(pictures).to_have_count(1)
        assert await source(pictures.first) == recipe["renditions"][1]["location"]


class TestBlurs:
    @pytest.mark.parametrize(("width", "height"), [(32, 24), (20, 32), (30, 10)])
    @pytest.mark.parametrize("kind", ["opaque", "transparent"])
    async def test_resemble_the_photo(
        self, page: Page, service: Service, kind: Literal["opaque", "transparent"], width: int, height: int
    ) -> None:
        def colour(x: float, y: float) -> tuple[int, int, int, int]:
            return (
                round(255 * x),
                round(60 + 120 * y),
                round(255 - 255 * x),
                255 if kind == "opaque" else round(255 * y),
            )

        pixels = [colour(x / (width - 1), y / (height - 1)) for y in range(height) for x in range(width)]
        placeholder = thumbhash(width, height, [value for pixel in pixels for value in pixel])
        await page.goto(service.url)
        data, side = await page.evaluate(
            """async (bytes) => {
                const { blurOf } = await import("/static/blurs.js");
                const canvas = blurOf(btoa(String.fromCharCode(...bytes)));
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return [[...data], canvas.width];
            }""",
            list(placeholder),
        )

        for x, y in [(0.25, 0.75), (0.75, 0.75), (0.5, 0.9)]:
            at = 4 * (int(y * side) * side + int(x * side))
            assert data[at : at + 4] == pytest.approx(colour(x, y), abs=48), (x, y)


class TestHeic:
    async def test_is_shown_by_a_browser_that_cannot_decode_it(
        self, page: Page, service: Service, visit: Visit
    ) -> None:
        recipe = made(service, send(service, heic(), name="pie.heic"))
        await page.goto(service.url)

        assert await source(picture(page)) == recipe["renditions"][0]["location"]
        assert recipe["location"] not in visit.requests

    async def test_is_shown_after_its_upload_from_this_page(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo("pie.heic", source="hopper.heif"))
        await page.get_by_role("button", name="Upload").click()
        await expect(page.locator("#tiles h3")).to_have_text("pie")

        await expect_shown(page)


COUNT_FAILED_IMAGES = """
    window.failedImages = 0;
    addEventListener("error", ({ target }) => (window.failedImages += target instanceof HTMLImageElement), true);
"""
"""Counts an image before its own handler runs; a script of the test runs only after both."""


class TestAHeicRenditionInProgress:
    @pytest.fixture
    def rendition(self, service: Service) -> str:
        """The URL of a rendition of a HEIC."""
        recipe = made(service, send(service, heic(), name="pie.heic"))
        location: str = recipe["renditions"][0]["location"]
        return location

    @pytest.fixture
    async def pending(self, page: Page, service: Service, visit: Visit, rendition: str) -> list[Route]:
        """The page's requests for the rendition, all of which are rejected with 503, as while it is being made."""
        visit.expect("503 (Service Unavailable)")
        requests: list[Route] = []

        async def reject(route: Route) -> None:
            requests.append(route)
            await route.fulfill(status=503, headers={"Retry-After": "1"})

        await page.add_init_script(COUNT_FAILED_IMAGES)
        await page.clock.install(time=0)
        await page.clock.pause_at(1000)
        await page.route(rendition, reject)
        await page.goto(service.url)
        return requests

    async def test_is_requested_again_after_longer_and_longer_breaks(
        self, page: Page, pending: list[Route], rendition: str
    ) -> None:
        for attempt, seconds in enumerate((2, 4, 8), start=1):
            await self.rejected(page, attempt)
            await self.advance(page, pending, seconds)
        await self.rejected(page, 4)
        await page.unroute(rendition)
        await self.advance(page, pending, 16)

        await expect_shown(page)

    async def test_is_named_if_it_cannot_be_made(self, page: Page, pending: list[Route]) -> None:
        for attempt, seconds in enumerate((2, 4, 8, 16, 32), start=1):
            await self.rejected(page, attempt)
            await self.advance(page, pending, seconds)

        await expect(page.locator("#tiles .photo").get_by_text("HEIC")).to_be_visible()
        await page.clock.fast_forward(3600_000)
        await page.evaluate("fetch('/healthz')")
        assert len(pending) == 6

    @staticmethod
    async def rejected(page: Page, attempt: int) -> None:
        """Wait until the page has handled the failure of this attempt, and so has set the timer of the next one."""
        await page.wait_for_function("attempt => window.failedImages >= attempt", arg=attempt, polling=50)

    @staticmethod
    async def advance(page: Page, pending: list[Route], seconds: int) -> None:
        """Let the time pass, and check that nothing is requested before its end."""
        attempts = len(pending)
        await page.clock.fast_forward(seconds * 1000 - 1)
        await page.evaluate("fetch('/healthz')")
        assert len(pending) == attempts
        await page.clock.fast_forward(1)


class TestRenditionsThatFail:
    async def test_are_replaced_by_the_original(self, page: Page, service: Service, visit: Visit, dish: bytes) -> None:
        visit.expect("404 (Not Found)")
        recipe = send(service, dish)
        await page.route("**/photo/*", lambda route: route.fulfill(status=404))
        await page.goto(service.url)
        await expect(picture(page)).to_have_attribute("src", recipe["location"])

        assert await source(picture(page)) == recipe["location"]


class TestAPhotoJustUploaded:
    @pytest.fixture
    async def uploaded(self, page: Page, service: Service, visit: Visit, dish: bytes) -> AsyncIterator[None]:
        await page.goto(service.url)
        await choose(page, {"name": "salad.jpg", "mimeType": "image/jpeg", "buffer": dish})
        await page.get_by_role("button", name="Upload").click()
        await expect(page.locator("#tiles h3")).to_have_text("salad")
        yield
        assert not [url for url in visit.requests if ".jpg" in url or ".webp" in url or "/photo/" in url]

    @pytest.mark.usefixtures("uploaded")
    async def test_is_shown_without_being_downloaded(self, page: Page) -> None:
        assert (await source(picture(page))).startswith("blob:")
        await page.get_by_role("link", name="salad").click()
        assert (await source(page.locator("#viewer img").last)).startswith("blob:")

    @pytest.mark.usefixtures("uploaded")
    async def test_is_shown_again_after_a_visit_to_the_end_of_the_page(self, page: Page) -> None:
        await page.get_by_role("button", name="Rename: salad").click()
        await page.keyboard.type("Dinner")
        await page.keyboard.press("Enter")
        await expect(page.locator("#tiles h3")).to_have_text("Dinner")

        assert (await source(picture(page))).startswith("blob:")


async def test_a_local_file_that_is_gone_is_replaced_by_a_rendition(
    page: Page, context: BrowserContext, service: Service, visit: Visit
) -> None:
    visit.expect("blob:nothing")
    await context.add_init_script("URL.createObjectURL = () => 'blob:nothing';")
    await page.goto(service.url)
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3")).to_have_text("pancakes")

    assert "/photo/320" in await source(picture(page))
