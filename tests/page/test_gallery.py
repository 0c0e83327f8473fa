"""The gallery: all that is there, newest first, and what its owner can do with it."""

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.chromium import Visit, held_back
from tests.support.photos import choose, labels, photo, upload
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
    """A tile of a photo that was uploaded from this browser, after one that was not."""
    upload(service, "Soup")
    await page.goto(service.url)
    await choose(page, photo())
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#tiles h3")).to_have_text(["pancakes", "Soup"])
    return tile(page, "pancakes")


def tile(page: Page, label: str) -> Locator:
    return page.locator("#tiles > li").filter(has=page.get_by_role("heading", name=label))


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name)


class TestShowing:
    async def test_is_newest_first_page_after_page_without_end(self, page: Page, service: Service) -> None:
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

    async def test_can_be_walked_by_keyboard(self, page: Page, service: Service) -> None:
        upload(service, *(f"Dish {number}" for number in range(FIRST_PAGE + 1)))
        await page.set_viewport_size({"width": 1000, "height": 300})
        await page.goto(service.url)
        await button(page, "Show more").evaluate("(more) => more.focus({ preventScroll: true })")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("link", name="Dish 0", exact=True)).to_be_focused()

    async def test_shows_each_photo_lazily_in_a_place_kept_for_it(self, page: Page, service: Service) -> None:
        [recipe] = upload(service, "Soup")
        await page.goto(service.url)

        image = page.get_by_role("img", name="Soup", include_hidden=True)
        await expect(image).to_have_attribute("loading", "lazy")
        await expect(image).to_have_attribute("src", recipe["location"])
        assert await image.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 1
        await expect(page.get_by_role("link", name="Soup")).to_have_attribute("href", recipe["location"])

    async def test_shows_a_kind_that_the_browser_cannot_show_by_its_name(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo("pie.heic", source="hopper.heif"))
        await button(page, "Upload").click()

        await expect(tile(page, "pie").get_by_text("HEIC")).to_be_visible()
        await expect(tile(page, "pie").locator("img")).to_be_hidden()

    async def test_says_what_to_do_where_it_cannot_be_loaded_until_it_can(
        self, page: Page, service: Service, proxy: ServiceProxy, visit: Visit
    ) -> None:
        visit.expect("ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET")
        upload(service, "Soup")
        proxy.script.follow(Plan(call="GET /recipe?limit=24", fault=Fault.ANSWER_LOST, for_ever=True))
        await page.goto(proxy.url)
        await expect(page.locator("#gallery-state")).to_contain_text("The connection broke")
        await choose(page, photo())
        await button(page, "Upload").click()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        await expect(page.locator("#gallery-state")).to_contain_text("The connection broke")
        proxy.script.follow()
        await button(page, "Try again").click()

        await expect(page.locator("#tiles h3")).to_have_text(["pancakes", "Soup"])
        await expect(page.locator("#gallery-state")).to_be_empty()
        await expect(button(page, "Try again")).to_be_hidden()

    async def test_gives_the_address_of_a_photo(self, page: Page, service: Service, context: BrowserContext) -> None:
        await context.grant_permissions(["clipboard-read", "clipboard-write"])
        [recipe] = upload(service, "Soup")
        await page.goto(service.url)
        await button(page, "Copy the address: Soup").click()

        await expect(page.locator("#announcer")).to_have_text("The address is copied.")
        assert await page.evaluate("navigator.clipboard.readText()") == recipe["location"]


class TestRenaming:
    async def test_takes_enter_and_gives_the_focus_back(self, page: Page, own: Locator, service: Service) -> None:
        await button(page, "Rename: pancakes").click()
        await expect(page.get_by_role("textbox", name="New label")).to_be_focused()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")

        await expect(own).to_be_hidden()
        await expect(tile(page, "Crêpes").locator("img")).to_have_attribute("alt", "Crêpes")
        await expect(button(page, "Rename: Crêpes")).to_be_focused()
        assert labels(service) == ["Crêpes", "Soup"]

    async def test_is_given_up_by_escape(self, page: Page, own: Locator, service: Service) -> None:
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Escape")

        await expect(own).to_be_visible()
        await expect(button(page, "Rename: pancakes")).to_be_focused()
        assert labels(service) == ["pancakes", "Soup"]

    @pytest.mark.usefixtures("own")
    async def test_says_why_it_fails(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("404 (Not Found)", "413 (")
        await button(page, "Rename: pancakes").click()
        await page.get_by_role("textbox", name="New label").fill("ü" * 513)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert").filter(has_text="The label is too long.")).to_be_visible()

        await delete_elsewhere(page, service)
        await page.get_by_role("textbox", name="New label").fill("Crêpes")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert").filter(has_text="not there any more")).to_be_visible()

    @pytest.mark.usefixtures("own")
    async def test_says_so_where_the_answer_is_of_something_else(self, page: Page) -> None:
        await page.route("**/recipe/*", lambda route: route.fulfill(body="<h1>Welcome to this hotel</h1>"))
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("alert").filter(has_text="Something went wrong here")).to_be_visible()
        await expect(page.get_by_role("textbox", name="New label")).to_be_editable()

    @pytest.mark.usefixtures("own")
    async def test_that_takes_its_time_is_sent_once_and_leaves_the_focus_where_it_went(
        self, page: Page, visit: Visit
    ) -> None:
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
    async def test_keeps_what_is_typed_while_an_earlier_one_takes_its_time(self, page: Page) -> None:
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
        await button(other, "Delete: pancakes").press("Enter")
        await other.keyboard.press("Escape")
        await expect(tile(other, "pancakes")).to_have_count(0)

        await expect(own).to_be_visible()
        await expect(button(page, "Rename: pancakes")).to_be_hidden()
        await expect(button(page, "Delete: pancakes")).to_be_hidden()

    @pytest.mark.usefixtures("own")
    async def test_is_offered_for_ones_own_photos_alone_and_after_a_reload_too(
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
    async def test_works_where_the_browser_stores_nothing(
        self, page: Page, context: BrowserContext, service: Service, storage: str
    ) -> None:
        await context.add_init_script(storage)
        await page.goto(service.url)
        await choose(page, photo())
        await button(page, "Upload").click()
        await button(page, "Rename: pancakes").click()
        await page.keyboard.type("Crêpes")
        await page.keyboard.press("Enter")

        await expect(button(page, "Rename: Crêpes")).to_be_focused()
        assert labels(service) == ["Crêpes"]


class TestDeleting:
    @pytest.fixture
    async def page(self, page: Page) -> Page:
        """Its time goes on when the test says so."""
        await page.clock.install()
        return page

    async def test_can_be_undone(self, page: Page, own: Locator, service: Service, visit: Visit) -> None:
        await button(page, "Delete: pancakes").click()
        await expect(own).to_be_hidden()
        await expect(page.get_by_role("link", name="Soup")).to_be_focused()
        await expect(page.locator("#toasts")).to_contain_text("Deleted “pancakes”.")
        await button(page, "Undo").click()

        await expect(own).to_be_visible()
        await expect(button(page, "Delete: pancakes")).to_be_focused()
        await expect(button(page, "Undo")).to_be_hidden()
        await page.clock.fast_forward(20_000)
        assert labels(service) == ["pancakes", "Soup"]
        assert not any("/recipe/" in request for request in visit.requests)

    async def test_happens_some_seconds_later(self, page: Page, own: Locator, service: Service) -> None:
        await button(page, "Delete: pancakes").click()
        await page.mouse.move(0, 0)
        await page.clock.fast_forward(5_000)
        assert labels(service) == ["pancakes", "Soup"]
        async with page.expect_response("**/recipe/*") as deleted:
            await page.clock.fast_forward(1_500)

        assert (await deleted.value).status == 204
        await expect(own).to_have_count(0)
        await expect(button(page, "Undo")).to_be_hidden()
        assert labels(service) == ["Soup"]

    async def test_by_keyboard_waits_as_long_as_its_offer_has_the_focus(
        self, page: Page, own: Locator, service: Service
    ) -> None:
        await button(page, "Delete: pancakes").press("Enter")
        await expect(button(page, "Undo")).to_be_focused()
        await page.clock.fast_forward(60_000)
        assert labels(service) == ["pancakes", "Soup"]
        async with page.expect_response("**/recipe/*"):
            await page.keyboard.press("Escape")

        await expect(page.get_by_role("link", name="Soup")).to_be_focused()
        await expect(own).to_have_count(0)
        assert labels(service) == ["Soup"]

    async def test_happens_when_the_page_is_left(self, page: Page, own: Locator, service: Service) -> None:
        await button(page, "Delete: pancakes").click()
        await expect(own).to_be_hidden()
        await page.goto("about:blank")

        assert eventually(lambda: labels(service) == ["Soup"])

    async def test_is_sent_so_that_it_outlives_the_page(
        self, page: Page, context: BrowserContext, service: Service
    ) -> None:
        await context.add_init_script(
            "const real = fetch;"
            "window.fetch = (...asked) => { window.outlives = asked[1].keepalive; return real(...asked); };"
        )
        await page.goto(service.url)
        await choose(page, photo())
        await button(page, "Upload").click()
        await button(page, "Delete: pancakes").click()
        async with page.expect_response("**/recipe/*"):
            await page.evaluate("dispatchEvent(new Event('pagehide'))")

        assert await page.evaluate("window.outlives") is True

    @pytest.mark.usefixtures("own")
    async def test_of_what_is_not_there_any_more_is_done(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("404 (Not Found)")
        await delete_elsewhere(page, service)
        await button(page, "Delete: pancakes").press("Enter")
        await page.keyboard.press("Escape")

        await expect(page.locator("#tiles > li")).to_have_count(1)
        assert labels(service) == ["Soup"]

    async def test_of_all_that_is_near_leaves_the_focus_on_what_adds_photos(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo(), photo("waffles.jpg"))
        await button(page, "Upload all").click()
        await expect(page.locator("#tiles h3")).to_have_count(2)
        await button(page, "Delete").first.press("Enter")
        await button(page, "Delete").first.press("Enter")
        await expect(button(page, "Undo")).to_have_count(2)
        await button(page, "Undo").last.press("Escape")

        await expect(page.get_by_label("Choose a photo")).to_be_focused()

    async def test_of_many_offers_to_undo_them_in_half_the_window(self, page: Page, service: Service) -> None:
        await page.set_viewport_size({"width": 320, "height": 640})
        await page.goto(service.url)
        await choose(page, *(photo(f"{number}-{'W' * 200}.jpg") for number in range(5)))
        await button(page, "Upload all").click()
        await expect(page.locator("#tiles h3")).to_have_count(5)
        for left in range(5, 0, -1):
            await expect(button(page, "Delete")).to_have_count(left)
            await button(page, "Delete").first.press("Enter")

        newest = button(page, "Undo").first
        await expect(newest).to_be_focused()
        await expect(newest).to_be_in_viewport(ratio=1)
        assert await newest.evaluate("(undo) => undo.scrollWidth <= undo.clientWidth && undo.clientHeight < 40")
        assert await newest.evaluate("(undo) => getComputedStyle(undo).outlineColor === getComputedStyle(undo).color")
        assert await page.locator("#toasts").evaluate("(toasts) => toasts.clientHeight") <= 320

    async def test_that_fails_puts_the_photo_back_and_says_why(
        self, page: Page, own: Locator, service: Service, visit: Visit
    ) -> None:
        visit.expect("403 (Forbidden)")
        await page.evaluate("for (const name of Object.keys(localStorage)) localStorage[name] = 'x'.repeat(43)")
        await page.reload()
        await button(page, "Delete: pancakes").click()
        await page.mouse.move(0, 0)
        await page.clock.fast_forward(7_000)

        await expect(own).to_be_visible()
        await expect(own.get_by_role("alert")).to_contain_text("cannot be changed from this browser")
        assert labels(service) == ["pancakes", "Soup"]

    async def test_leaves_an_empty_gallery_that_says_so(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo())
        await button(page, "Upload").click()
        await button(page, "Delete: pancakes").click()

        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        await expect(page.get_by_label("Choose a photo")).to_be_focused()


async def delete_elsewhere(page: Page, service: Service) -> None:
    """As somebody with the same token would, on another machine."""
    [(name, token)] = await page.evaluate("Object.entries(localStorage)")
    with service.client(token) as client:
        client.delete(f"/recipe/{name.rsplit('.', 1)[-1]}").raise_for_status()
