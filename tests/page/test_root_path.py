"""The page and the docs in a browser, published below a path."""

from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo, upload
from tests.support.service import Service


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service(ROOT_PATH="/api")


@pytest.mark.parametrize("path", ["/api", "/api/"])
async def test_the_page_uploads_and_lists(page: Page, service: Service, visit: Visit, path: str) -> None:
    upload(service, *(f"Soup {number}" for number in range(25)))
    await page.goto(f"{service.url}{path}")
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3").first).to_have_text("pancakes")
    await expect(page.locator("#tiles h3")).to_have_count(25)
    await page.locator("#more").scroll_into_view_if_needed()
    await expect(page.locator("#tiles h3")).to_have_count(26)

    asked = [url.removeprefix(service.url) for url in visit.requests if url.startswith(service.url)]
    assert all(path.startswith("/api") for path in asked), asked


async def test_try_it_out_uploads(page: Page, service: Service) -> None:
    await page.goto(f"{service.url}/api/docs")
    form = page.locator("#operations-recipes-uploadRecipe")
    await form.get_by_role("button", name="Upload a photo with its label").first.click()
    await form.locator("input[type=file]").set_input_files([photo()])
    await form.locator("tr[data-property-name=label] input, tr[data-property-name=label] textarea").fill("Pancakes")
    async with page.expect_response("**/api/recipe") as answer:
        await form.get_by_role("button", name="Execute").click()

    assert (await answer.value).status == 201
    assert labels(service) == ["Pancakes"]
