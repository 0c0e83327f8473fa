"""The plain form: without scripts, the browser itself uploads it."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.chromium import Visit, axe_findings
from tests.support.photos import assert_position_removed, choose, labels, photo
from tests.support.service import Service


async def send(page: Page) -> None:
    await choose(page, photo())
    await page.get_by_label("Label").fill("Pancakes")
    await page.get_by_role("button", name="Upload", exact=True).click()
    await expect(page.get_by_role("heading", name="Photo stored")).to_be_visible()


class TestWithoutScripts:
    @pytest.fixture
    async def context(self, browser: Browser) -> AsyncIterator[BrowserContext]:
        opened = await browser.new_context(java_script_enabled=False)
        yield opened
        await opened.close()

    async def test_uploads_and_shows_what_was_stored(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await send(page)

        assert labels(service) == ["Pancakes"]
        await expect(page.get_by_role("heading", name="Pancakes")).to_be_visible()
        await expect(page.get_by_role("heading", name="Manage token")).to_be_visible()
        shown = page.get_by_role("img", name="Pancakes")
        await expect(shown).to_have_js_property("complete", value=True)
        assert await shown.evaluate("(image) => image.naturalWidth") > 0
        await page.get_by_role("link", name="Upload another photo").click()
        await expect(page.get_by_label("Choose a photo")).to_be_visible()

    async def test_removes_the_position_of_a_photo(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo(source="exif_gps.jpg"))
        await page.get_by_label("Label").fill("Pancakes")
        await page.get_by_role("button", name="Upload", exact=True).click()

        location = await page.get_by_role("img", name="Pancakes").get_attribute("src")
        assert location is not None
        assert_position_removed(location)

    async def test_shows_why_an_upload_failed(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("415")
        await page.goto(service.url)
        await choose(page, {"name": "soup.txt", "mimeType": "text/plain", "buffer": b"Soup."})
        await page.get_by_label("Label").fill("<b>Soup</b>")
        await page.get_by_role("button", name="Upload", exact=True).click()

        await expect(page.get_by_role("heading", name="Upload failed")).to_be_visible()
        await expect(page.locator("main")).to_contain_text("image/jpeg")
        assert labels(service) == []
        await page.get_by_role("link", name="Back to the form").click()
        await expect(page.get_by_label("Choose a photo")).to_be_visible()

    async def test_the_result_fits_a_narrow_window(self, page: Page, service: Service) -> None:
        await page.set_viewport_size({"width": 320, "height": 600})
        await page.goto(service.url)
        await send(page)

        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    async def test_offers_nothing_that_requires_scripts(self, page: Page, service: Service) -> None:
        await page.goto(service.url)

        await expect(page.get_by_text("or drop it here")).to_be_hidden()
        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_hidden()
        await expect(page.get_by_text("is removed before they are published")).to_be_visible()


async def test_comes_back_if_the_script_does_not_load(page: Page, service: Service, visit: Visit) -> None:
    visit.expect("/static/page.js")
    await page.route("**/static/page.js", lambda route: route.abort())
    await page.goto(service.url)

    await send(page)

    assert labels(service) == ["Pancakes"]
    assert await axe_findings(page) == []
