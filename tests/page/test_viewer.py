"""The large view of a photo, and the way through the gallery from one to the next."""

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.chromium import Visit, axe_findings, held_back
from tests.support.photos import choose, photo, upload
from tests.support.service import Service

FIRST_PAGE = 24
SWIPE = """([across, along]) => {
    const frame = document.querySelector("#viewer .photo");
    const touch = (x, y) => new Touch({ identifier: 1, target: frame, clientX: x, clientY: y });
    const send = (type, lists) => frame.dispatchEvent(new TouchEvent(type, { bubbles: true, ...lists }));
    send("touchstart", { touches: [touch(200, 200)] });
    send("touchend", { changedTouches: [touch(200 + across, 200 + along)] });
}"""


@pytest.fixture
async def gallery(page: Page, service: Service) -> None:
    """Three photos: Soup, Salad and Cake."""
    upload(service, "Cake", "Salad", "Soup")
    await page.goto(service.url)
    await expect(page.locator("#tiles h3")).to_have_count(3)


def view(page: Page) -> Locator:
    return page.get_by_role("dialog")


def link(page: Page, label: str) -> Locator:
    return page.get_by_role("link", name=label, exact=True)


def button(page: Page, name: str) -> Locator:
    return view(page).get_by_role("button", name=name)


async def show(page: Page, label: str) -> None:
    await link(page, label).click()
    await expect(view(page).get_by_role("heading")).to_have_text(label)


async def assert_shown(page: Page, label: str) -> None:
    """Assert that the view shows the photo with this label, and not only its title."""
    await expect(page.get_by_role("dialog", name=label)).to_be_visible()
    large = view(page).get_by_role("img", name=label)
    await expect(large).to_have_js_property("complete", value=True)
    assert await large.evaluate("(image) => image.naturalWidth") > 1


@pytest.mark.usefixtures("gallery")
class TestOpening:
    async def test_a_click_anywhere_on_the_photo_shows_it(self, page: Page) -> None:
        await page.locator("#tiles .photo").nth(1).click(force=True)

        await assert_shown(page, "Salad")

    async def test_enter_on_the_link_shows_it_with_the_focus_on_the_title(self, page: Page) -> None:
        await link(page, "Soup").press("Enter")

        await assert_shown(page, "Soup")
        await expect(view(page).get_by_role("heading")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(view(page)).to_be_visible()

    async def test_a_click_with_a_modifier_opens_the_original_elsewhere(self, page: Page, visit: Visit) -> None:
        visit.expect("favicon.ico")  # browsers may request it from the store when they open the photo there
        for key in ("ctrl", "shift", "meta"):
            is_left_to_the_browser = await link(page, "Soup").evaluate(
                """(link, key) => {
                    const init = { bubbles: true, cancelable: true, [`${key}Key`]: true };
                    const look = (event) => { link.was = event.defaultPrevented; event.preventDefault(); };
                    addEventListener("click", look, { once: true });
                    link.dispatchEvent(new MouseEvent("click", init));
                    return !link.was;
                }""",
                key,
            )

            assert is_left_to_the_browser, key
            await expect(view(page)).to_be_hidden()

    async def test_the_original_opens_in_a_new_tab(self, page: Page, visit: Visit) -> None:
        visit.expect("favicon.ico")
        location = await link(page, "Soup").get_attribute("href")
        await show(page, "Soup")
        async with page.expect_popup() as opened:
            await view(page).get_by_role("link", name="Open the original").click()

        assert (await opened.value).url == location


@pytest.mark.usefixtures("gallery")
class TestSteps:
    async def test_arrow_keys_show_the_photos_beside(self, page: Page) -> None:
        await show(page, "Soup")
        await page.keyboard.press("ArrowRight")
        await assert_shown(page, "Salad")
        await page.keyboard.press("ArrowRight")
        await assert_shown(page, "Cake")
        await page.keyboard.press("ArrowLeft")
        await assert_shown(page, "Salad")

    async def test_buttons_show_the_photos_beside_and_keep_the_focus(self, page: Page) -> None:
        await show(page, "Salad")
        await button(page, "Next").click()
        await assert_shown(page, "Cake")
        await expect(button(page, "Next")).to_be_focused()
        await expect(button(page, "Next")).to_be_disabled()
        await page.keyboard.press("Enter")
        await assert_shown(page, "Cake")
        await button(page, "Previous").click()
        await button(page, "Previous").click()
        await assert_shown(page, "Soup")

        await expect(button(page, "Previous")).to_be_disabled()
        await expect(button(page, "Next")).to_be_enabled()

    async def test_an_arrow_with_a_modifier_is_left_to_the_browser(self, page: Page) -> None:
        await show(page, "Soup")
        await page.keyboard.press("Alt+ArrowRight")

        await assert_shown(page, "Soup")

    @pytest.mark.parametrize(
        ("way", "shown"),
        [
            ((-120, 30), "Cake"),
            pytest.param((120, -30), "Soup", marks=pytest.mark.exhaustive),
            pytest.param((-20, 0), "Salad", marks=pytest.mark.exhaustive),
            ((-120, 200), "Salad"),
        ],
        ids=["to the left", "to the right", "too short", "mostly down"],
    )
    async def test_a_swipe_shows_the_photo_beside(self, page: Page, way: tuple[int, int], shown: str) -> None:
        await show(page, "Salad")
        await page.evaluate(SWIPE, way)

        await assert_shown(page, shown)

    async def test_two_fingers_do_not_swipe(self, page: Page) -> None:
        await show(page, "Salad")
        await page.evaluate(SWIPE.replace("[touch(200, 200)]", "[touch(200, 200), touch(300, 300)]"), (-120, 0))

        await assert_shown(page, "Salad")


class TestPaging:
    async def test_the_next_page_is_loaded_at_the_end(self, page: Page, service: Service) -> None:
        upload(service, *(f"Dish {number}" for number in range(FIRST_PAGE + 2)))
        await page.set_viewport_size({"width": 1000, "height": 300})
        await page.goto(service.url)
        await expect(page.locator("#tiles h3")).to_have_count(FIRST_PAGE)
        await link(page, "Dish 2").evaluate("(link) => link.click()")
        await expect(button(page, "Next")).to_be_enabled()
        await page.keyboard.press("ArrowRight")
        await assert_shown(page, "Dish 1")
        await page.keyboard.press("ArrowRight")
        await assert_shown(page, "Dish 0")

        await expect(button(page, "Next")).to_be_disabled()
        await expect(page.locator("#tiles h3")).to_have_count(FIRST_PAGE + 2)

    async def test_a_page_that_does_not_arrive_is_explained(self, page: Page, service: Service, visit: Visit) -> None:
        visit.expect("ERR_FAILED")
        upload(service, *(f"Dish {number}" for number in range(FIRST_PAGE + 1)))
        await page.set_viewport_size({"width": 1000, "height": 300})
        await page.route("**/recipe?*after=*", lambda route: route.abort())
        await page.goto(service.url)
        await expect(page.locator("#tiles h3")).to_have_count(FIRST_PAGE)
        await link(page, "Dish 1").evaluate("(link) => link.click()")
        await button(page, "Next").click()

        await expect(view(page).get_by_role("alert")).to_have_text("The connection was lost. Try again.")
        await page.unroute("**/recipe?*after=*")
        await button(page, "Next").click()
        await assert_shown(page, "Dish 0")
        await expect(view(page).get_by_role("alert")).to_be_hidden()


@pytest.mark.usefixtures("gallery")
class TestClosing:
    @pytest.mark.parametrize("way", ["Escape", "Close"])
    async def test_moves_the_focus_to_the_photo_that_was_shown_last(self, page: Page, way: str) -> None:
        await page.set_viewport_size({"width": 400, "height": 300})
        await show(page, "Soup")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await assert_shown(page, "Cake")
        await (page.keyboard.press("Escape") if way == "Escape" else button(page, way).click())

        await expect(view(page)).to_be_hidden()
        await expect(link(page, "Cake")).to_be_focused()
        await expect(link(page, "Cake")).to_be_in_viewport()

    async def test_of_a_photo_that_is_being_renamed_moves_the_focus_to_its_new_label(self, page: Page) -> None:
        await choose(page, photo())
        await page.get_by_role("button", name="Upload").click()
        await page.get_by_role("button", name="Rename: pancakes").click()
        await show(page, "Soup")
        await page.keyboard.press("ArrowLeft")
        await assert_shown(page, "pancakes")
        await page.keyboard.press("Escape")

        await expect(page.get_by_role("textbox", name="New label")).to_be_focused()

    async def test_of_a_photo_that_was_deleted_meanwhile_moves_the_focus_to_the_heading(self, page: Page) -> None:
        answer = await held_back(page, "**/recipe/*", "DELETE")
        await choose(page, photo())
        await page.get_by_role("button", name="Upload").click()
        await page.get_by_role("button", name="Delete: pancakes").click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await show(page, "pancakes")
        answer.set()
        await expect(page.locator("#tiles > li")).to_have_count(3)
        await page.keyboard.press("Escape")

        await expect(page.get_by_role("heading", name="Photos", exact=True)).to_be_focused()


@pytest.mark.usefixtures("gallery")
class TestAccessibility:
    async def test_axe_finds_no_violation(self, page: Page) -> None:
        await show(page, "Soup")

        assert await axe_findings(page) == []

    async def test_everything_can_be_reached_with_tab(self, page: Page) -> None:
        await show(page, "Salad")
        names = []
        for _ in range(4):
            await page.keyboard.press("Tab")
            names.append(await page.evaluate("document.activeElement.textContent"))

        assert names == ["Previous", "Next", "Close", "Open the original"]

    async def test_nothing_moves(self, page: Page) -> None:
        await show(page, "Soup")

        assert await page.evaluate("document.getAnimations().length") == 0

    async def test_a_long_label_fits_a_narrow_window(self, browser: Browser, service: Service) -> None:
        upload(service, "W" * 900)
        phone = await browser.new_context(viewport={"width": 320, "height": 480}, has_touch=True, is_mobile=True)
        page = await phone.new_page()
        await page.goto(service.url)
        await link(page, "W" * 900).tap()

        for name in ("Previous", "Next", "Close"):
            await expect(button(page, name)).to_be_in_viewport(ratio=1)
        await expect(view(page).get_by_role("img")).to_be_in_viewport(ratio=1)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await phone.close()


async def test_a_photo_of_a_kind_that_the_browser_cannot_show_is_named(page: Page, service: Service) -> None:
    await page.goto(service.url)
    await choose(page, photo("pie.heic", source="hopper.heif"))
    await page.get_by_role("button", name="Upload").click()
    await show(page, "pie")

    await expect(view(page).get_by_text("HEIC", exact=True)).to_be_visible()
