"""The form as it was in the lesson: where no script runs, it uploads by itself."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo
from tests.support.service import Service


async def send(page: Page) -> None:
    await choose(page, photo())
    await page.get_by_label("Label").fill("Pancakes")
    await page.get_by_role("button", name="Upload", exact=True).click()
    await expect(page.locator("body")).to_contain_text('"manage_token"')


class TestWithoutScripts:
    @pytest.fixture
    async def context(self, browser: Browser) -> AsyncIterator[BrowserContext]:
        opened = await browser.new_context(java_script_enabled=False)
        yield opened
        await opened.close()

    async def test_uploads_and_answers_with_json(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await send(page)

        assert labels(service) == ["Pancakes"]

    async def test_promises_nothing_that_only_a_script_can_do(self, page: Page, service: Service) -> None:
        await page.goto(service.url)

        await expect(page.get_by_text("or drop it here")).to_be_hidden()
        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_hidden()
        await expect(page.get_by_text("Photos are published as they are")).to_be_visible()


async def test_comes_back_where_the_script_does_not_arrive(page: Page, service: Service, visit: Visit) -> None:
    visit.expect("/static/page.js")
    await page.route("**/static/page.js", lambda route: route.abort())
    await page.goto(service.url)

    await send(page)

    assert labels(service) == ["Pancakes"]
