"""Where the service wants API tokens, the page asks for one, once, and offers with it all that it may do."""

from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo, upload
from tests.support.service import API_TOKEN, Service


@pytest.fixture
def guarded(start_service: Callable[..., Service], visit: Visit) -> Service:
    """A service with a recipe that was uploaded from elsewhere."""
    visit.expect("401 (Unauthorized)")
    service = start_service(API_TOKENS=f"tests:{API_TOKEN}")
    upload(service, "Soup", token=API_TOKEN)
    return service


@pytest.fixture
def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="API token")


async def enter(dialog: Locator, token: str) -> None:
    await dialog.get_by_label("Token", exact=True).fill(token)
    await dialog.get_by_role("button", name="Use it").click()


async def test_a_token_opens_the_gallery_and_manages_all_of_it(page: Page, guarded: Service, dialog: Locator) -> None:
    await page.goto(guarded.url)
    await expect(dialog).to_contain_text("This service asks for an API token. Enter yours.")
    await expect(dialog.get_by_label("Token", exact=True)).to_be_focused()
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_text("Soup")
    await page.get_by_role("button", name="Rename: Soup").click()
    await page.keyboard.type("Stew")
    await page.keyboard.press("Enter")
    await expect(page.locator("#tiles h3")).to_have_text("Stew")
    assert labels(guarded, API_TOKEN) == ["Stew"]


async def test_a_wrong_token_is_said_and_asked_for_again(page: Page, guarded: Service, dialog: Locator) -> None:
    await page.goto(guarded.url)
    await enter(dialog, "not-a-token-of-this-service")
    await expect(dialog).to_contain_text("This API token is not known here.")
    await expect(dialog.get_by_label("Token", exact=True)).to_have_value("")
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_text("Soup")


async def test_an_upload_waits_for_the_token_and_goes_on_with_it(page: Page, guarded: Service, dialog: Locator) -> None:
    await page.goto(guarded.url)
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#gallery-state")).to_have_text("This service asks for an API token. Enter yours.")
    await choose(page, photo(), photo("waffles.jpg"))
    await page.get_by_role("button", name="Upload all").click()
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_count(2)
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("#tiles h3")).to_have_count(3)
    assert sorted(labels(guarded, API_TOKEN)) == ["Soup", "pancakes", "waffles"]


async def test_an_upload_for_which_nobody_enters_one_can_be_tried_again(
    page: Page, guarded: Service, dialog: Locator
) -> None:
    await page.goto(guarded.url)
    await dialog.press("Escape")
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await dialog.press("Escape")
    await expect(page.locator(".state")).to_contain_text("This service asks for an API token.")
    await page.locator("#queue").get_by_role("button", name="Try again").click()
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_text("pancakes")


async def test_the_token_lasts_as_long_as_the_tab_and_can_be_forgotten_before(
    page: Page, guarded: Service, dialog: Locator
) -> None:
    await page.goto(guarded.url)
    await enter(dialog, API_TOKEN)
    await page.reload()
    await expect(page.get_by_role("button", name="Rename: Soup")).to_be_visible()
    await page.get_by_role("button", name="Forget the token").click()

    await expect(page.get_by_role("button", name="Rename: Soup")).to_be_hidden()
    await page.reload()
    await expect(dialog).to_be_visible()
