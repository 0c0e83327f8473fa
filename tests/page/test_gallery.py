"""The gallery: all photos, newest first, and renaming and deleting them."""

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.chromium import Visit, held_back
from tests.support.photos import choose, labels, photo, portrait, upload
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy
from tests.support.traces import eventually

FIRST_PAGE = 24
SWITCHED_OFF = """for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, {
    get() { throw new DOMException("no", "SecurityError"); },
});"""
FULL = """for (let size = 2 ** 23; size >= 1; size = Math.floor(size / 2)) {
    try {
        for (;;) localStorage[`filler ${localStorage.length}`] = "x".repeat(size);
    } catch {} // no more of this size
}"""


@pytest.fixture
async def own(page: Page, service: Service) -> Locator:
    """The tile of a photo uploaded from this browser, after one from elsewhere."""
    upload(service, "Soup")
    await page.goto(service.url)
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3")).to_have_text(["pancakes", "Soup"])
    return tile(page, "pancakes")


def tile(page: Page, label: str) -> Locator:
    return page.locator("#tiles > li").filter(has=page.get_by_role("heading", name=label))


async def ratio(shown: Locator) -> float:
    box = await shown.bounding_box()
    assert box is not None
    return box["width"] / box["height"]


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


class TestShowing:
    async def test_loads_page_after_page_newest_first(self, page: Page, service: Service) -> None:
        names = [f"Dish {number}" for number in range(2 * FIRST_PAGE + 5)]
        upload(service, *names)
        await page.set_viewport_size({"width": 1000, "height": 300})
        await page.goto(service.url)
        await expect(page.locator("#tiles h3")).to_have_count(FIRST_PAGE)

        await page.get_by_role("button", name="Show more").scroll_into_view_if_needed()
        await expect(page.locator("#tiles h3")).to_have_count(2 * FIRST_PAGE)
        await page.get_by_role("button", name="Show more").scroll_into_view_if_needed()

        await expect(page.locator("#tiles h3")).to_have_text(names[::-1])
        await expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    async def test_reserves_the_proportions_of_each_photo(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect(".jpg")
        await page.route("**/*.jpg", lambda route: route.abort())  # no photo arrives, whose proportions would show
        with service.client() as client:
            files = {"photo": ("p.jpg", portrait()["buffer"])}
            client.post("/recipe", data={"label": "Tall"}, files=files).raise_for_status()
        upload(service, "Square")
        await page.goto(service.url)

        ratios = [await ratio(tile(page, label).locator(".photo")) for label in ("Tall", "Square")]

        assert ratios == [pytest.approx(1 / 2, abs=0.01), pytest.approx(1, abs=0.01)]

    async def test_can_be_browsed_with_the_keyboard(self, page: Page, service: Service) -> None:
        upload(service, *(f"Dish {number}" for number in range(FIRST_PAGE + 1)))
        await page.set_viewport_size({"width": 1000, "height": 300})
        await page.goto(service.url)
        await button(page, "Show more").evaluate("(more) => more.focus({ preventScroll: true })")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("heading", name="Dish 0", exact=True)).to_be_focused()

    async def test_loads_the_photos_of_the_first_rows_first_and_the_others_lazily(
        self, page: Page, service: Service
    ) -> None:
        upload(service, *(f"Dish {number}" for number in range(9)))
        await page.goto(service.url)
        await expect(page.locator("#tiles img")).to_have_count(9)

        loading = "(images) => images.map(({ loading, fetchPriority }) => `${loading} ${fetchPriority}`)"
        assert await page.locator("#tiles img").evaluate_all(loading) == 8 * ["eager high"] + ["lazy auto"]

    async def test_shows_the_name_of_a_type_that_the_browser_cannot_display(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo("pie.heic", source="hopper.heif"))
        await button(page, "Upload").click()

        await expect(tile(page, "pie").get_by_text("HEIC")).to_be_visible()
        await expect(tile(page, "pie").locator("img")).to_be_hidden()

    async def test_explains_a_failure_to_load_until_it_succeeds(
        self, page: Page, service: Service, proxy: ServiceProxy, visit: Visit
    ) -> None:
        visit.expect("ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET")
        upload(service, "Soup")
        proxy.script.follow(Plan(call="GET /recipe?limit=24", fault=Fault.RESPONSE_LOST, forever=True))
        await page.goto(proxy.url)
        await expect(page.locator("#gallery-state")).to_contain_text("The connection was lost")
        await choose(page, photo())
        await button(page, "Upload").click()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        await expect(page.locator("#gallery-state")).to_contain_text("The connection was lost")
        proxy.script.follow()
        await button(page, "Try again").click()

        await expect(page.locator("#tiles h3")).to_have_text(["pancakes", "Soup"])
        await expect(page.locator("#gallery-state")).to_be_empty()
        await expect(button(page, "Try again")).to_be_hidden()

    async def test_copies_the_url_of_a_photo(self, page: Page, service: Service, context: BrowserContext) -> None:
        await context.grant_permissions(["clipboard-read", "clipboard-write"])
        [recipe] = upload(service, "Soup")
        await page.goto(service.url)
        await button(page, "Copy the address: Soup").click()

        await expect(page.locator("#announcer")).to_have_text("The address has been copied.")
        assert await page.evaluate("navigator.clipboard.readText()") == recipe["location"]


class TestRenaming:
    async def test_enter_saves_and_moves_the_focus_to_the_title(
        self, page: Page, own: Locator, service: Service
    ) -> None:
        await button(page, "Rename: pancakes").click()
        await expect(page.get_by_role("textbox", name="New label")).to_be_focused()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")

        await expect(own).to_be_hidden()
        await expect(page.get_by_role("link", name="Crêpes")).to_be_visible()
        await expect(page.get_by_role("heading", name="Crêpes")).to_be_focused()
        assert labels(service) == ["Crêpes", "Soup"]

    async def test_a_question_that_is_cancelled_and_asked_again_at_once_can_be_answered(
        self, page: Page, own: Locator, service: Service
    ) -> None:
        await own.evaluate(
            """(tile) => {
                const remove = tile.querySelector("button[title=Delete]");
                remove.click();
                document.querySelector("#deletion button[autofocus]").click();
                remove.click();  // before the browser reports that the dialog has closed
            }"""
        )
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()

        await expect(own).to_be_hidden()
        assert labels(service) == ["Soup"]

    async def test_escape_cancels(self, page: Page, own: Locator, service: Service) -> None:
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Escape")

        await expect(own).to_be_visible()
        await expect(button(page, "Rename: pancakes")).to_be_focused()
        assert labels(service) == ["pancakes", "Soup"]

    @pytest.mark.usefixtures("own")
    async def test_a_failure_is_explained(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("404 (Not Found)")
        await button(page, "Rename: pancakes").click()
        await delete_elsewhere(page, service)
        await page.get_by_role("textbox", name="New label").fill("Crêpes")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert").filter(has_text="no longer exists")).to_be_visible()

    @pytest.mark.usefixtures("own")
    async def test_an_unexpected_response_is_reported(self, page: Page) -> None:
        await page.route("**/recipe/*", lambda route: route.fulfill(body="<h1>Welcome to this hotel</h1>"))
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("alert").filter(has_text="Something went wrong on this page")).to_be_visible()
        await expect(page.get_by_role("textbox", name="New label")).to_be_editable()

    @pytest.mark.usefixtures("own")
    async def test_a_slow_request_is_sent_once_and_does_not_move_the_focus(self, page: Page, visit: Visit) -> None:
        answer = await held_back(page, "**/recipe/*", "PATCH")
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("textbox", name="New label")).not_to_be_editable()
        await page.get_by_label("Choose a photo").focus()
        answer.set()

        await expect(page.locator("#tiles h3")).to_have_text(["Crêpes", "Soup"])
        await expect(page.get_by_label("Choose a photo")).to_be_focused()
        assert len([request for request in visit.requests if "/recipe/" in request]) == 1

    @pytest.mark.usefixtures("own")
    async def test_a_slow_request_does_not_overwrite_later_input(self, page: Page) -> None:
        answer = await held_back(page, "**/recipe/*", "PATCH")
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Escape")
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Waffles")
        answer.set()

        await expect(page.locator("#announcer")).to_have_text("Renamed to Crêpes.")
        await expect(page.get_by_role("textbox", name="New label")).to_have_value("Waffles")
        await expect(page.get_by_role("textbox", name="New label")).to_be_focused()

    async def test_is_not_offered_once_another_tab_has_deleted_the_photo(
        self, page: Page, own: Locator, context: BrowserContext, service: Service
    ) -> None:
        other = await context.new_page()
        await other.goto(service.url)
        await delete(other, "pancakes")
        await expect(tile(other, "pancakes")).to_have_count(0)

        await expect(own).to_be_visible()
        await expect(button(page, "Rename: pancakes")).to_be_hidden()
        await expect(button(page, "Delete: pancakes")).to_be_hidden()

    @pytest.mark.usefixtures("own")
    async def test_is_offered_only_for_the_visitors_own_photos_also_after_a_reload(
        self, page: Page, browser: Browser, service: Service
    ) -> None:
        await expect(button(page, "Rename: Soup")).to_be_hidden()
        await page.reload()
        await expect(button(page, "Rename: pancakes")).to_be_visible()
        await expect(button(page, "Rename: Soup")).to_be_hidden()

        stranger = await browser.new_page()
        await stranger.goto(service.url)
        await expect(tile(stranger, "pancakes")).to_be_visible()
        await expect(button(stranger, "Rename: pancakes")).to_be_hidden()
        await stranger.close()

    @pytest.mark.parametrize("storage", [SWITCHED_OFF, FULL], ids=["switched off", "full"])
    async def test_works_without_browser_storage(
        self, page: Page, context: BrowserContext, service: Service, storage: str
    ) -> None:
        await context.add_init_script(storage)
        await page.goto(service.url)
        await choose(page, photo())
        await button(page, "Upload").click()
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("heading", name="Crêpes")).to_be_focused()
        assert labels(service) == ["Crêpes"]


class TestDeleting:
    async def test_asks_first_with_cancel_in_focus(
        self, page: Page, own: Locator, service: Service, visit: Visit
    ) -> None:
        await button(page, "Delete: pancakes").click()
        question = page.get_by_role("dialog", name="Delete “pancakes”?")

        await expect(question).to_contain_text("deleted for good")
        await expect(question.get_by_role("button", name="Cancel")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(question).to_be_hidden()
        await expect(own).to_be_visible()
        await expect(button(page, "Delete: pancakes")).to_be_focused()
        assert labels(service) == ["pancakes", "Soup"]
        assert not any("/recipe/" in request for request in visit.requests)

    async def test_escape_cancels(self, page: Page, own: Locator, service: Service) -> None:
        await button(page, "Delete: pancakes").press("Enter")
        await page.keyboard.press("Escape")

        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(own).to_be_visible()
        await expect(button(page, "Delete: pancakes")).to_be_focused()
        assert labels(service) == ["pancakes", "Soup"]

    async def test_is_announced_when_it_is_complete(self, page: Page, own: Locator, service: Service) -> None:
        await delete(page, "pancakes")

        await expect(own).to_have_count(0)
        await expect(page.locator("#announcer")).to_have_text("pancakes has been deleted.")
        await expect(page.get_by_role("heading", name="Soup")).to_be_focused()
        assert labels(service) == ["Soup"]
        assert await page.evaluate("localStorage.length") == 0

    async def test_a_slow_request_leaves_the_photo_until_it_is_complete(
        self, page: Page, own: Locator, visit: Visit
    ) -> None:
        answer = await held_back(page, "**/recipe/*", "DELETE")
        await delete(page, "pancakes")
        await expect(own).to_have_attribute("aria-busy", "true")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        answer.set()

        await expect(own).to_have_count(0)
        assert len([request for request in visit.requests if "/recipe/" in request]) == 1

    @pytest.mark.usefixtures("own")
    async def test_happens_even_if_the_tab_is_closed_at_once(self, page: Page, service: Service) -> None:
        await button(page, "Delete: pancakes").click()
        async with page.expect_request("**/recipe/*"):
            await page.evaluate("document.querySelector('#deletion [value=delete]').click()")
            await page.close()

        assert eventually(lambda: labels(service) == ["Soup"])

    @pytest.mark.usefixtures("own")
    async def test_of_a_photo_that_is_already_gone_succeeds(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("404 (Not Found)")
        await delete_elsewhere(page, service)
        await delete(page, "pancakes")

        await expect(page.locator("#tiles > li")).to_have_count(1)
        assert labels(service) == ["Soup"]

    async def test_of_a_long_label_fits_a_small_window(self, page: Page, service: Service) -> None:
        await page.set_viewport_size({"width": 320, "height": 480})
        await page.goto(service.url)
        await choose(page, photo(f"{'W' * 200}.jpg"))
        await button(page, "Upload").click()
        await button(page, "Delete").click()

        await expect(button(page, "Cancel")).to_be_in_viewport(ratio=1)
        await expect(page.get_by_role("button", name="Delete", exact=True)).to_be_in_viewport(ratio=1)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320

    async def test_a_failure_leaves_the_photo_and_is_explained(
        self, page: Page, own: Locator, service: Service, visit: Visit
    ) -> None:
        visit.expect("403 (Forbidden)")
        await page.evaluate("for (const name of Object.keys(localStorage)) localStorage[name] = 'x'.repeat(43)")
        await page.reload()
        await delete(page, "pancakes")

        await expect(own.get_by_role("alert")).to_contain_text("cannot be changed from this browser")
        await expect(own).to_be_visible()
        await expect(button(page, "Delete: pancakes")).to_be_focused()
        assert labels(service) == ["pancakes", "Soup"]

    async def test_of_the_last_photo_shows_the_empty_gallery(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo())
        await button(page, "Upload").click()
        await delete(page, "pancakes")

        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_focused()


async def delete(page: Page, label: str) -> None:
    """Delete a photo and confirm it."""
    await button(page, f"Delete: {label}").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()


async def delete_elsewhere(page: Page, service: Service) -> None:
    """Delete a photo with the same token from another machine."""
    [(name, token)] = await page.evaluate("Object.entries(localStorage)")
    with service.client(token) as client:
        client.delete(f"/recipe/{name.rsplit('.', 1)[-1]}").raise_for_status()
