"""Accessibility of the page: axe-core, the keyboard, focus rings, layout shifts, and narrow windows."""

import re
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

    async def test_finds_no_violation_on_an_empty_page(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()

        assert await axe_findings(page) == []

    async def test_finds_no_violation_during_uploads_and_failures(
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

    async def test_finds_no_violation_in_the_gallery(self, page: Page, service: Service) -> None:
        upload(service, "Soup")
        await page.goto(service.url)
        await choose(page, photo("pancakes.jpg"), photo("pie.jpg"), photo("pie.heic", source="hopper.heif"))
        await page.get_by_role("button", name="Upload all").click()
        await expect(page.locator("#tiles h3")).to_have_count(4)
        await page.get_by_role("button", name="Rename: pie").first.click()
        await page.get_by_role("textbox", name="New label").fill("ü" * 513)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("This label is too long")).to_be_visible()
        assert await axe_findings(page) == []

        await page.get_by_role("button", name="Delete: pancakes").click()
        await expect(page.get_by_role("dialog", name="Delete “pancakes”?")).to_be_visible()
        assert await axe_findings(page) == []

    async def test_finds_no_violation_in_the_dialog(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("401 (Unauthorized)")
        refusal = '{"type": "/problems/token-wanted", "title": "Token required", "status": 401}'
        await page.route("**/recipe?*", lambda route: route.fulfill(status=401, body=refusal))
        await page.goto(service.url)
        await expect(page.get_by_role("dialog")).to_be_visible()

        assert await axe_findings(page) == []


async def test_the_page_works_with_the_keyboard_alone(page: Page, service: Service) -> None:
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
    await expect(page.get_by_role("heading", name="Scones")).to_be_focused()
    await tab_to("Delete")
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Delete: Scones")).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Space")
    await expect(page.get_by_text("Nothing here yet")).to_be_visible()
    assert labels(service) == []


class TestNames:
    async def test_a_tile_names_its_photo_once_besides_its_buttons(self, page: Page, service: Service) -> None:
        upload(service, "Soup")
        await page.goto(service.url)
        await expect(page.locator("#tiles h3")).to_have_text("Soup")
        tree = await page.locator("#tiles").aria_snapshot()

        assert tree.count("link ") == 1
        assert "img" not in tree
        assert re.search(r'heading "Soup" \[level=3\]:\s+- link "Soup"', tree)

    async def test_the_whole_photo_is_a_link(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("favicon.ico")  # browsers may request it from the store when they open the photo there
        [recipe] = upload(service, "Soup")
        await page.goto(service.url)
        async with page.context.expect_page() as opened:
            await page.locator("#tiles .photo").click(force=True, modifiers=["ControlOrMeta"])

        await expect(await opened.value).to_have_url(recipe["location"])

    async def test_every_control_has_a_unique_name(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo("soup.jpg"), photo("stew.jpg"), photo("pie.jpg"))
        await page.get_by_role("button", name="Upload all").click()
        await expect(page.locator("#tiles h3")).to_have_count(3)
        await page.get_by_role("button", name="Rename: soup").click()
        await page.get_by_role("button", name="Rename: stew").click()
        await choose(page, photo("image.png"), photo("image.png"), photo("tart.jpg"))
        await choose(page, photo("image.png"))
        tree = await page.locator("body").aria_snapshot()
        names = re.findall(r"""- '?((?:button|textbox|link|form|progressbar) "[^"]+")""", tree)

        assert 'button "Remove: image.png (3)"' in names
        assert [name for name in names if names.count(name) > 1] == []
        assert not any(re.search('"(Upload|Remove|Cancel|Save|Label|New label)"', name) for name in names)


async def test_a_title_follows_the_direction_of_its_text(page: Page, service: Service) -> None:
    upload(service, "שקשוקה")
    await page.goto(service.url)
    await expect(page.locator("#tiles h3")).to_have_count(1)
    gaps = await page.locator("#tiles h3").evaluate(
        """(title) => {
            const text = document.createRange();
            text.selectNodeContents(title.firstElementChild);
            const [inner, outer] = [text, title].map((each) => each.getBoundingClientRect());
            return [inner.left - outer.left, outer.right - inner.right];
        }"""
    )

    assert gaps[0] > 50
    assert gaps[1] < 1


async def test_every_button_has_a_border_in_forced_colours(browser: Browser, service: Service) -> None:
    page = await browser.new_page(forced_colors="active")
    await page.goto(service.url)
    await choose(page, photo("soup.jpg"), photo("stew.jpg"))
    await expect(page.get_by_role("button", name="Upload all")).to_be_visible()
    edges = await page.evaluate(
        """() => [...document.querySelectorAll("button, [for=photo]")]
            .filter((button) => button.checkVisibility())
            .map((button) => [button.textContent, getComputedStyle(button)])
            .map(([name, { borderStyle, borderTopWidth, borderTopColor, backgroundColor }]) =>
                [name, borderStyle === "solid" && borderTopWidth === "1px" && borderTopColor !== backgroundColor])"""
    )

    assert "Choose a photo" in dict(edges)
    assert [name for name, has_edge in edges if not has_edge] == []
    await page.close()


async def test_each_tab_stop_has_a_visible_focus_ring(browser: Browser, service: Service) -> None:
    phone = await browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    page = await phone.new_page()
    await page.goto(service.url)
    await expect(page.get_by_text("Take a photo")).to_be_visible()
    ringed = """() => [...document.querySelectorAll("*")]
        .filter((each) => getComputedStyle(each).outlineStyle === "solid" && getComputedStyle(each).opacity !== "0")
        .map((each) => each.id || each.className)"""
    rings = []
    for _ in range(3):
        await page.keyboard.press("Tab")
        rings.append([each for each in await page.evaluate(ringed) if each != "unseen"])

    assert rings == [[""], ["drop"], ["camera"]]
    await phone.close()


async def test_the_layout_does_not_shift_while_the_gallery_loads(
    page: Page, context: BrowserContext, service: Service
) -> None:
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

    async def test_fits_320_pixels_with_large_enough_targets(self, page: Page, service: Service) -> None:
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


async def test_nothing_moves_with_reduced_motion(browser: Browser, service: Service) -> None:
    upload(service, "Soup")
    page = await browser.new_page(reduced_motion="reduce")
    await page.goto(service.url)
    await expect(page.locator("#tiles h3")).to_have_text("Soup")

    moving = "document.getAnimations().filter((animation) => animation.effect.getComputedTiming().duration > 0).length"
    assert await page.evaluate(moving) == 0
    assert await page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") == "0s"
    await page.close()
