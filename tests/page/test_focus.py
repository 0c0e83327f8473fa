"""The focus moves only to where an extra key press does no harm, and never scrolls the page."""

import asyncio

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo
from tests.support.service import Service

WATCH = "window.focused = []; document.addEventListener('focusin', ({ target }) => focused.push(target.tagName));"


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("form", name=name)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


@pytest.fixture
async def gates(page: Page, service: Service) -> list[asyncio.Event]:
    """Events, each of which lets one upload of the page proceed."""
    opened = [asyncio.Event() for _ in range(6)]
    waiting = iter(opened)

    async def pass_on(route: Route) -> None:
        if route.request.method == "POST":
            await next(waiting).wait()
        await route.continue_()

    await page.route("**/recipe", pass_on)
    await page.goto(service.url)
    return opened


class TestWhileUploadsEnd:
    async def test_it_stays_on_the_heading_and_the_page_does_not_scroll(
        self, page: Page, gates: list[asyncio.Event], service: Service
    ) -> None:
        await page.set_viewport_size({"width": 320, "height": 500})
        await choose(page, *(photo(f"dish {number}.jpg") for number in range(6)))
        await button(page, "Upload all").press("Enter")
        await expect(page.get_by_role("heading", name="Uploads")).to_be_focused()
        await page.evaluate(WATCH)
        top = await page.evaluate("scrollY")
        for stored, gate in enumerate(gates[:5], start=1):
            gate.set()
            await expect(page.get_by_text("Stored", exact=True)).to_have_count(stored)
            await page.keyboard.press("Space")
            await page.evaluate(f"scrollTo(0, {top})")  # Space pages down wherever it has nothing else to do

        assert await page.evaluate("window.focused") == []
        gates[5].set()
        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_focused()
        assert await page.evaluate("window.focused") == ["H2"]
        assert len(labels(service)) == 6

    async def test_a_button_that_changes_its_action_passes_it_to_its_row(
        self, page: Page, gates: list[asyncio.Event]
    ) -> None:
        await choose(page, photo("one.jpg"), photo("two.jpg"))
        await button(page, "Upload all").click()
        await button(page, "Cancel: one.jpg").focus()
        gates[0].set()

        await expect(row(page, "one.jpg")).to_contain_text("Stored")
        await expect(row(page, "one.jpg")).to_be_focused()

    async def test_a_failure_passes_it_to_the_row(self, page: Page, gates: list[asyncio.Event], visit: Visit) -> None:
        visit.expect("ERR_INTERNET_DISCONNECTED")
        await choose(page, photo("one.jpg"))
        await button(page, "Upload: one.jpg").click()
        await button(page, "Cancel: one.jpg").focus()
        await page.context.set_offline(True)
        gates[0].set()

        await expect(button(page, "Try again: one.jpg")).to_be_visible()
        await expect(row(page, "one.jpg")).to_be_focused()
        await expect(row(page, "one.jpg")).to_have_accessible_description("The connection was lost. Try again.")

    async def test_it_stays_in_a_field_while_somebody_types(self, page: Page, gates: list[asyncio.Event]) -> None:
        await choose(page, photo("one.jpg"), photo("two.jpg"))
        await button(page, "Upload: one.jpg").click()
        field = page.get_by_label("Label: two.jpg")
        await field.fill("")
        await field.press_sequentially("Waf")
        gates[0].set()
        await expect(row(page, "one.jpg")).to_contain_text("Stored")
        await page.keyboard.type("fles")

        await expect(field).to_be_focused()
        await expect(field).to_have_value("Waffles")


class TestAfterAButton:
    async def test_that_uploads_or_cancels_it_moves_to_the_row(self, page: Page, gates: list[asyncio.Event]) -> None:
        assert gates
        await choose(page, photo("one.jpg"))
        await button(page, "Upload: one.jpg").press("Space")
        await expect(row(page, "one.jpg")).to_be_focused()
        await page.keyboard.press("Space")
        await button(page, "Cancel: one.jpg").press("Space")

        await expect(row(page, "one.jpg")).to_be_focused()
        await page.keyboard.press("Space")
        await expect(row(page, "one.jpg")).to_contain_text("Cancelled.")
        await expect(button(page, "Remove: one.jpg")).to_be_visible()

    async def test_that_removes_a_row_it_moves_to_the_next_row_or_a_heading(
        self, page: Page, gates: list[asyncio.Event]
    ) -> None:
        assert gates
        await choose(page, photo("one.jpg"), photo("two.jpg"), photo("three.jpg"))
        await button(page, "Remove: two.jpg").press("Space")
        await expect(row(page, "three.jpg")).to_be_focused()
        await button(page, "Remove: three.jpg").press("Space")
        await expect(row(page, "one.jpg")).to_be_focused()
        await button(page, "Remove: one.jpg").press("Space")

        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_focused()

    async def test_that_deletes_the_last_photo_it_moves_to_the_heading(
        self, page: Page, gates: list[asyncio.Event]
    ) -> None:
        gates[0].set()
        await choose(page, photo("soup.jpg"))
        await button(page, "Upload: soup.jpg").click()
        await button(page, "Delete: soup").press("Space")
        await page.get_by_role("button", name="Delete", exact=True).press("Space")

        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_focused()

    async def test_that_forgets_the_token_it_moves_to_the_title_of_the_page(
        self, page: Page, gates: list[asyncio.Event]
    ) -> None:
        assert gates
        await page.evaluate("sessionStorage['recipe_api.token'] = 'x'.repeat(43)")
        await page.reload()
        await button(page, "Forget the token").press("Space")

        await expect(page.get_by_role("heading", name="Recipe photos")).to_be_focused()


async def test_photos_of_which_none_can_be_uploaded_are_announced(page: Page, service: Service) -> None:
    await page.goto(service.url)
    await choose(page, {**photo("void.jpg"), "buffer": b""})

    await expect(row(page, "void.jpg")).to_be_focused()
    await expect(page.locator("#announcer")).to_have_text("1 of 1 files cannot be uploaded.")
