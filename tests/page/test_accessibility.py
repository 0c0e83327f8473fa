"""The page for everyone: axe-core finds nothing, the keyboard is enough, nothing jumps, and 320 pixels are enough."""

from collections.abc import AsyncIterator
from typing import Literal

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.chromium import Visit, axe_findings
from tests.support.photos import MIB, choose, labels, photo, upload
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import proxied

SMALLEST_TARGET = 24  # CSS pixels: WCAG 2.2, 2.5.8


class TestAxe:
    @pytest.fixture(params=["light", "dark"])
    async def context(self, browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[BrowserContext]:
        scheme: Literal["light", "dark"] = request.param
        opened = await browser.new_context(color_scheme=scheme, reduced_motion="reduce")
        yield opened
        await opened.close()

    async def test_finds_nothing_on_an_empty_page(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()

        assert await axe_findings(page) == []

    async def test_finds_nothing_while_photos_are_uploaded_and_fail(
        self, page: Page, service: Service, visit: Visit
    ) -> None:
        visit.expect("415 (Unsupported Media Type)")
        with proxied(service) as proxy:
            await page.goto(proxy.url)
            await choose(page, {"name": "list.jpg", "mimeType": "image/jpeg", "buffer": b"eggs"})
            await page.get_by_role("button", name="Upload").click()
            await expect(page.locator(".refused")).to_be_visible()
            proxy.script.follow(Plan(call="POST /recipe", fault=Fault.HELD))
            await choose(page, photo("soup.jpg", size=MIB), photo("stew.jpg"), photo("pie.heic", source="hopper.heif"))
            await page.get_by_role("form", name="soup.jpg").get_by_role("button", name="Upload").click()
            await expect(page.get_by_role("progressbar")).to_be_visible()

            assert await axe_findings(page) == []
            await page.get_by_role("button", name="Cancel").click()

    async def test_finds_nothing_in_the_gallery(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("413 (")
        upload(service, "Soup")
        await page.goto(service.url)
        await choose(page, photo("pancakes.jpg"), photo("pie.jpg"), photo("pie.heic", source="hopper.heif"))
        await page.get_by_role("button", name="Upload all").click()
        await expect(page.locator("#tiles h3")).to_have_count(4)
        await page.get_by_role("button", name="Delete: pancakes").press("Enter")
        await page.get_by_role("button", name="Rename: pie").first.click()
        await page.get_by_role("textbox", name="New label").fill("ü" * 513)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("The label is too long.")).to_be_visible()

        assert await axe_findings(page) == []

    async def test_finds_nothing_in_the_dialog(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("401 (Unauthorized)")
        refusal = '{"type": "/problems/token-wanted", "title": "A token is wanted", "status": 401}'
        await page.route("**/recipe?*", lambda route: route.fulfill(status=401, body=refusal))
        await page.goto(service.url)
        await expect(page.get_by_role("dialog")).to_be_visible()

        assert await axe_findings(page) == []


async def test_the_keyboard_is_enough(page: Page, service: Service) -> None:
    page.on("filechooser", lambda _: None)  # else Playwright begins to look for one at the moment when Space is pressed
    await page.goto(service.url)
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()

    async def tab_to(name: str) -> None:
        for _ in range(12):
            await page.keyboard.press("Tab")
            if name in await page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"):
                return
        pytest.fail(f"Tab does not come to {name}")

    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.locator("#photo")).to_be_focused()
    async with page.expect_file_chooser() as chooser:
        await page.keyboard.press("Space")
    await (await chooser.value).set_files([photo()])
    await page.keyboard.type("Waffles")
    await page.keyboard.press("Enter")
    await expect(page.locator("#tiles h3")).to_have_text("Waffles")

    await tab_to("Rename")
    await page.keyboard.press("Enter")
    await page.keyboard.type("Scones")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Rename: Scones")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Delete: Scones")).to_be_focused()
    assert labels(service) == ["Scones"]


async def test_nothing_jumps_while_the_gallery_loads(page: Page, context: BrowserContext, service: Service) -> None:
    upload(service, *(f"Dish {number}" for number in range(30)))
    await context.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach("
        "(entry) => { window.shift += entry.value; })).observe({ type: 'layout-shift', buffered: true });"
    )
    await page.goto(service.url)
    await expect(page.locator("#tiles h3")).to_have_count(24)
    await page.get_by_role("button", name="Show more").scroll_into_view_if_needed()
    await expect(page.locator("#tiles h3")).to_have_count(30)
    await page.evaluate("Promise.all([...document.images].slice(0, 12).map((image) => image.decode()))")
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    assert await page.evaluate("window.shift") < 0.001


class TestNarrow:
    @pytest.fixture
    async def context(self, browser: Browser) -> AsyncIterator[BrowserContext]:
        opened = await browser.new_context(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
        yield opened
        await opened.close()

    async def test_320_pixels_are_enough_and_no_target_is_too_small(self, page: Page, service: Service) -> None:
        upload(service, "W" * 60)
        await page.goto(service.url)
        await choose(page, photo("soup.jpg"))
        await page.get_by_role("button", name="Upload").click()
        await expect(page.locator("#tiles h3")).to_have_count(2)
        await page.get_by_role("button", name="Rename").first.click()
        await choose(page, photo(f"{'W' * 60}.jpg"), photo("stew.jpg"))
        await expect(page.get_by_role("button", name="Upload all")).to_be_visible()

        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        small = await page.evaluate(
            """(least) => [...document.querySelectorAll("button, a, input:not(.unseen), label[for]")]
                .filter((target) => target.checkVisibility())
                .filter((target) => Math.min(target.offsetWidth, target.offsetHeight) < least)
                .map((target) => target.outerHTML)""",
            SMALLEST_TARGET,
        )
        assert small == []


async def test_nothing_moves_for_those_who_want_that(browser: Browser, service: Service) -> None:
    upload(service, "Soup")
    page = await browser.new_page(reduced_motion="reduce")
    await page.goto(service.url)
    await expect(page.locator("#tiles h3")).to_have_text("Soup")

    moving = "document.getAnimations().filter((animation) => animation.effect.getComputedTiming().duration > 0).length"
    assert await page.evaluate(moving) == 0
    assert await page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    await page.close()
