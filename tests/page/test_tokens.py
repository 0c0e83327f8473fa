"""If the service requires API tokens, the page asks for one, once, and uses it for everything it permits."""

from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo, upload
from tests.support.service import API_TOKEN, Service

FOUR = [photo(f"{name}.jpg") for name in ("one", "two", "three", "four")]
PAUSED = "This service requires an API token. Try again to enter one."


@pytest.fixture
def guarded(start_service: Callable[..., Service], visit: Visit) -> Service:
    """A service that requires a token, with a recipe uploaded from elsewhere."""
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


async def test_an_api_token_opens_the_gallery_and_manages_every_photo(
    page: Page, guarded: Service, dialog: Locator
) -> None:
    await page.goto(guarded.url)
    await expect(dialog).to_contain_text("This service requires an API token. Enter yours.")
    await expect(dialog.get_by_label("Token", exact=True)).to_be_focused()
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_text("Soup")
    await page.get_by_role("button", name="Rename: Soup").click()
    await page.keyboard.type("Stew")
    await page.keyboard.press("Enter")
    await expect(page.locator("#tiles h3")).to_have_text("Stew")
    assert labels(guarded, API_TOKEN) == ["Stew"]


async def test_after_a_wrong_token_the_page_asks_again(page: Page, guarded: Service, dialog: Locator) -> None:
    await page.goto(guarded.url)
    await enter(dialog, "not-a-token-of-this-service")
    await expect(dialog).to_contain_text("The service does not know this API token.")
    await expect(dialog.get_by_label("Token", exact=True)).to_have_value("")
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_text("Soup")


class TestAnUpload:
    @pytest.fixture
    async def uploads(self, page: Page) -> list[str]:
        """Collect the tokens of the uploads that the page sends, and count its dialogs in `dialogs`."""
        sent: list[str] = []
        page.on("request", lambda it: sent.append(it.headers.get("authorization", "")) if it.method == "POST" else None)
        await page.add_init_script(
            "window.dialogs = 0; const show = HTMLDialogElement.prototype.showModal;"
            "HTMLDialogElement.prototype.showModal = function () { window.dialogs++; show.call(this); };"
        )
        return sent

    async def test_waits_until_a_token_is_accepted_as_do_all_others(
        self, page: Page, guarded: Service, dialog: Locator, uploads: list[str]
    ) -> None:
        await page.goto(guarded.url)
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(page.locator("#gallery-state")).to_have_text("This service requires an API token. Enter yours.")
        await choose(page, *FOUR)
        await page.get_by_role("button", name="Upload all").click()
        await enter(dialog, "not-a-token-of-this-service")
        await expect(dialog).to_contain_text("The service does not know this API token.")
        await enter(dialog, API_TOKEN)

        await expect(page.locator("#tiles h3")).to_have_count(4)
        assert uploads == [f"Bearer {API_TOKEN}"] * 4
        assert await page.evaluate("window.dialogs") == 3  # at first, for the uploads, and for the wrong one
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator("#tiles h3")).to_have_count(5)

    async def test_without_a_token_pauses_until_somebody_continues_any_upload(
        self, page: Page, guarded: Service, dialog: Locator, uploads: list[str]
    ) -> None:
        await page.goto(guarded.url)
        await dialog.press("Escape")
        await choose(page, *FOUR)
        await page.get_by_role("button", name="Upload all").click()
        await dialog.press("Escape")
        await expect(page.locator("#queue .state")).to_have_text([PAUSED] * 4)
        await expect(dialog).to_be_hidden()
        assert uploads == []
        await page.get_by_role("button", name="Try again: one.jpg").click()
        await enter(dialog, API_TOKEN)

        await expect(page.locator("#tiles h3")).to_have_count(4)
        assert await page.evaluate("window.dialogs") == 3

    async def test_uses_a_token_that_was_entered_for_the_gallery(
        self, page: Page, guarded: Service, dialog: Locator, uploads: list[str]
    ) -> None:
        await page.goto(guarded.url)
        await dialog.press("Escape")
        await choose(page, *FOUR)
        await page.get_by_role("button", name="Upload all").click()
        await dialog.press("Escape")
        await page.locator("#more").click()
        await enter(dialog, API_TOKEN)

        await expect(page.locator("#tiles h3")).to_have_count(5)
        assert len(uploads) == 4

    async def test_whose_token_is_rejected_pauses_the_others_and_asks_once(
        self, page: Page, guarded: Service, dialog: Locator, uploads: list[str]
    ) -> None:
        refusal = '{"type": "/problems/token-unknown", "title": "Unknown token", "status": 401}'
        await page.goto(guarded.url)
        await enter(dialog, API_TOKEN)
        await expect(page.locator("#tiles h3")).to_have_text("Soup")
        await page.route("**/recipe", lambda route: route.fulfill(status=401, body=refusal))
        await choose(page, *FOUR)
        await page.get_by_role("button", name="Upload all").click()
        await dialog.press("Escape")
        await expect(page.locator("#queue .state")).to_have_text([PAUSED] * 4)
        assert len(uploads) == 2
        assert await page.evaluate("window.dialogs") == 2
        await page.unroute("**/recipe")
        await page.get_by_role("button", name="Upload all").click()

        await expect(page.locator("#tiles h3")).to_have_count(5)
        assert len(uploads) == 6


async def test_an_invalid_token_is_explained(page: Page, guarded: Service, dialog: Locator) -> None:
    empty, impossible = "Enter a token.", "A token has no spaces or accented letters."
    await page.goto(guarded.url)
    for typed, sentence in (("", empty), ("a b", impossible), ("  ", empty)):
        await enter(dialog, typed)

        await expect(dialog.get_by_role("alert")).to_contain_text(sentence)
        await expect(dialog.get_by_label("Token", exact=True)).to_be_focused()
    await enter(dialog, f"  {API_TOKEN} ")
    await expect(page.locator("#tiles h3")).to_have_text("Soup")


async def test_an_upload_can_be_retried_after_the_dialog_was_cancelled(
    page: Page, guarded: Service, dialog: Locator
) -> None:
    await page.goto(guarded.url)
    await dialog.press("Escape")
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await dialog.press("Escape")
    await expect(page.locator(".state")).to_contain_text("This service requires an API token.")
    await page.locator("#queue").get_by_role("button", name="Try again").click()
    await enter(dialog, API_TOKEN)

    await expect(page.locator("#tiles h3")).to_have_text("pancakes")


async def test_the_token_lasts_until_the_tab_closes_or_it_is_forgotten(
    page: Page, guarded: Service, dialog: Locator
) -> None:
    await page.goto(guarded.url)
    await enter(dialog, API_TOKEN)
    await expect(page.get_by_role("button", name="Rename: Soup")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Rename: Soup")).to_be_visible()
    await page.get_by_role("button", name="Forget the token").click()

    await expect(page.get_by_role("button", name="Rename: Soup")).to_be_hidden()
    await page.reload()
    await expect(dialog).to_be_visible()
