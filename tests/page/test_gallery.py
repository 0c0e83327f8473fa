"""The gallery: all that is there, newest first, and what its owner can do with it."""

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.support.chromium import Visit
from tests.support.photos import choose, labels, photo, upload
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import proxied
from tests.support.traces import eventually

FIRST_PAGE = 24


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

    async def test_says_what_to_do_where_it_cannot_be_loaded(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET")
        upload(service, "Soup")
        with proxied(service) as proxy:
            proxy.script.follow(Plan(call="GET /recipe?limit=24", fault=Fault.ANSWER_LOST, for_ever=True))
            await page.goto(proxy.url)
            await expect(page.locator("#gallery-state")).to_contain_text("Try again")
            proxy.script.follow()
            await button(page, "Try again").click()

            await expect(page.locator("#tiles h3")).to_have_text("Soup")
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

    async def test_works_where_the_browser_stores_nothing(
        self, page: Page, context: BrowserContext, service: Service
    ) -> None:
        await context.add_init_script(
            "for (const name of ['localStorage', 'sessionStorage'])"
            " Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });"
        )
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
    """As another tab of the same browser would."""
    [(name, token)] = await page.evaluate("Object.entries(localStorage)")
    with service.client(token) as client:
        client.delete(f"/recipe/{name.rsplit('.', 1)[-1]}").raise_for_status()
