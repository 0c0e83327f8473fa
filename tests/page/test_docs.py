"""The docs in a browser: "Try it out" uploads, under a policy as strict as the page's."""

from playwright.async_api import Page, expect

from tests.support.photos import labels, photo
from tests.support.service import Service


async def test_try_it_out_uploads(page: Page, service: Service) -> None:
    await page.goto(f"{service.url}/docs")
    upload = page.locator("#operations-recipes-uploadRecipe")
    await upload.get_by_role("button", name="Upload a photo with its label").first.click()
    await upload.locator("input[type=file]").set_input_files([photo()])
    await upload.locator("tr[data-property-name=label] input, tr[data-property-name=label] textarea").fill("Pancakes")
    async with page.expect_response("**/recipe") as answer:
        await upload.get_by_role("button", name="Execute").click()

    assert (await answer.value).status == 201
    await expect(upload.locator(".live-responses-table")).to_contain_text("manage_token")
    assert labels(service) == ["Pancakes"]


async def test_a_token_is_forgotten_with_the_page(page: Page, service: Service) -> None:
    await page.goto(f"{service.url}/docs")
    await page.get_by_role("button", name="Authorize").click()
    await page.locator(".auth-container input").first.fill("a-token")
    await page.locator(".auth-container").first.get_by_role("button", name="Apply credentials").click()
    await expect(
        page.locator(".auth-container").first.get_by_role("button", name="Remove authorization")
    ).to_be_visible()

    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
