"""Uploads from the page: chosen, labelled, sent and shown."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.support.chromium import Visit, held_back
from tests.support.photos import MIB, assert_position_removed, choose, labels, photo, portrait
from tests.support.proxy import Fault, Plan
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy, held_uploads
from tests.support.traces import eventually

PREVIEWS = """
    window.previews = 0;
    for (const [name, step] of [["createObjectURL", 1], ["revokeObjectURL", -1]]) {
        const real = URL[name];
        URL[name] = (what) => { window.previews += what ? step : 0; return real.call(URL, what); };
    }
"""
"""Counts the object URLs of previews that the page has created and not revoked."""


async def transfer_to(page: Page, event: str, selector: str) -> None:
    """Drop or paste two photos."""
    await page.evaluate(
        """([event, selector]) => {
            const data = new DataTransfer();
            data.items.add(new File(["\\xff"], "soup.jpg", { type: "image/jpeg" }));
            data.items.add(new File(["\\xff"], "stew.jpg", { type: "image/jpeg" }));
            const init = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
            const made = event === "paste" ? new ClipboardEvent(event, init) : new DragEvent(event, init);
            document.querySelector(selector).dispatchEvent(made);
        }""",
        [event, selector],
    )


async def box_of(page: Page, selector: str) -> dict[str, float]:
    """Return the position of the only element that matches this selector."""
    box: dict[str, float] = await page.locator(selector).evaluate("(found) => found.getBoundingClientRect().toJSON()")
    return box


async def may_leave(page: Page) -> bool:
    """Return whether the page can be left without a warning."""
    asking = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    return bool(await page.evaluate(asking))


class TestChoosing:
    async def test_several_photos_move_from_the_queue_to_the_gallery(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()

        await choose(page, photo("apple-pie.jpg"), photo("Minestrone_soup.jpg"))
        await expect(page.get_by_role("form", name="apple-pie.jpg").get_by_label("Label")).to_have_value("apple pie")
        await page.get_by_role("button", name="Upload all").click()

        await expect(page.locator("#tiles h3")).to_have_count(2)
        await expect(page.get_by_text("Nothing here yet")).to_be_hidden()
        await expect(page.get_by_role("heading", name="Uploads")).to_be_hidden()
        assert sorted(labels(service)) == ["Minestrone soup", "apple pie"]

    async def test_the_position_of_a_photo_is_removed(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo(source="exif_gps.jpg"))
        await page.get_by_role("button", name="Upload").click()

        location = await page.locator("#tiles a").get_attribute("href")
        assert location is not None
        assert_position_removed(location)

    @pytest.mark.parametrize(("event", "selector"), [("drop", "#drop"), ("drop", "h1"), ("paste", "body")])
    async def test_photos_can_be_dropped_and_pasted(
        self, page: Page, service: Service, event: str, selector: str
    ) -> None:
        await page.goto(service.url)
        await expect(page.locator("#gallery")).to_be_visible()

        await transfer_to(page, event, selector)

        await expect(page.locator("#queue form")).to_have_count(2)
        await expect(page.get_by_role("form", name="soup.jpg").get_by_label("Label")).to_be_focused()

    async def test_a_phone_can_take_a_photo(self, browser: Browser, service: Service) -> None:
        phone = await browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
        page = await phone.new_page()
        await page.goto(service.url)

        camera = page.get_by_label("Take a photo")
        await expect(camera).to_have_attribute("capture", "environment")
        await camera.set_input_files([photo("IMG_1.jpg")])

        await expect(page.locator("#queue form")).to_have_count(1)
        await phone.close()

    async def test_a_photo_is_previewed_before_it_is_sent(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo("pie.jpg"), photo("pie.heic", source="hopper.heif"))

        shown = page.get_by_role("form", name="pie.jpg").locator("img")
        await expect(shown).to_be_visible()
        assert await shown.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 1
        await expect(page.get_by_role("form", name="pie.heic").get_by_text("HEIC")).to_be_visible()

    async def test_a_portrait_photo_fills_its_frame_from_the_centre(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, portrait())
        assert await box_of(page, "#queue img") == await box_of(page, "#queue .photo")
        await page.get_by_role("button", name="Upload").click()

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert await box_of(page, "#tiles img") == await box_of(page, "#tiles .photo")

    async def test_previews_are_revoked(self, page: Page, context: BrowserContext, service: Service) -> None:
        await context.add_init_script(PREVIEWS)
        await page.goto(service.url)
        await choose(page, photo(), photo("waffles.jpg"))
        assert await page.evaluate("window.previews") == 2

        await page.get_by_role("form", name="waffles.jpg").get_by_role("button", name="Remove").click()
        assert await page.evaluate("window.previews") == 1
        await page.get_by_role("button", name="Upload").click()
        await expect(page.locator("#queue form")).to_have_count(0)
        assert await page.evaluate("window.previews") == 1
        await page.get_by_role("button", name="Delete: pancakes").click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.locator("#tiles > li")).to_have_count(0)
        assert await page.evaluate("window.previews") == 0

    async def test_a_file_that_is_too_large_is_not_previewed(
        self, page: Page, context: BrowserContext, start_service: Callable[..., Service]
    ) -> None:
        await context.add_init_script(PREVIEWS)
        await page.goto(start_service(MAX_UPLOAD_BYTES="100000").url)
        await choose(page, photo("huge.jpg", size=100_001))

        await expect(page.get_by_role("form", name="huge.jpg").get_by_text("JPG", exact=True)).to_be_visible()
        assert await page.evaluate("window.previews") == 0

    async def test_a_photo_chosen_before_the_script_loaded_is_added(self, page: Page, service: Service) -> None:
        arrival = await held_back(page, "**/static/page.js", "GET")
        await page.goto(service.url, wait_until="commit")
        await choose(page, photo())
        arrival.set()

        await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")

    async def test_enter_opens_the_file_dialog(self, page: Page, service: Service) -> None:
        page.on("filechooser", lambda _: None)  # else Playwright begins to look for one when Enter is pressed
        await page.goto(service.url)
        await expect(page.locator("#gallery")).to_be_visible()
        async with page.expect_file_chooser() as chooser:
            await page.get_by_label("Choose a photo").press("Enter")

        assert (await chooser.value).is_multiple()

    async def test_pasted_text_with_an_image_goes_into_the_field(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await choose(page, photo())
        is_left_to_the_field = await page.get_by_label("Label").evaluate(
            """(field) => {
                const data = new DataTransfer();
                data.setData("text/plain", "Waffles");
                data.items.add(new File(["\\x89PNG"], "image.png", { type: "image/png" }));
                const init = { bubbles: true, cancelable: true, clipboardData: data };
                return field.dispatchEvent(new ClipboardEvent("paste", init));
            }"""
        )

        assert is_left_to_the_field
        await expect(page.locator("#queue form")).to_have_count(1)

    async def test_an_unacceptable_file_is_reported_before_it_is_sent(
        self, page: Page, start_service: Callable[..., Service], visit: Visit
    ) -> None:
        service = start_service(MAX_UPLOAD_BYTES="100000")
        await page.goto(service.url)

        await choose(page, photo("huge.jpg", size=100_001), {**photo("void.jpg"), "buffer": b""})

        await expect(page.get_by_role("form", name="huge.jpg")).to_contain_text("The limit is 100,000 bytes.")
        await expect(page.get_by_role("form", name="void.jpg")).to_contain_text("empty")
        await expect(page.get_by_role("button", name="Upload")).to_have_count(0)
        await page.get_by_role("form", name="huge.jpg").get_by_label("Label").press("Enter")
        assert f"{service.url}/recipe" not in visit.requests

    async def test_sizes_have_a_suitable_unit(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        said = await page.evaluate(
            """async (numbers) => {
                const { size, sizes } = await import("/static/figures.js");
                return [...numbers.map(size), ...sizes(100_001, 100_000)];
            }""",
            [0, 1, 11, 999, 1000, 999_949, 999_950, 3_210_000],
        )

        assert said[:4] == ["0 bytes", "1 byte", "11 bytes", "999 bytes"]
        assert said[4:8] == ["1 kB", "999.9 kB", "1 MB", "3.2 MB"]
        assert said[8:] == ["100,001 bytes", "100,000 bytes"]

    async def test_labels_and_names_never_become_markup(self, page: Page, service: Service) -> None:
        evil = "<img src=x onerror=alert(1)>"
        await page.goto(service.url)
        await choose(page, photo(f"{evil}.jpg"))
        await page.get_by_label("Label").fill(evil)
        await page.get_by_label("Label").press("Enter")

        await expect(page.locator("#tiles h3")).to_have_text(evil)


class TestSending:
    async def test_shows_progress_speed_and_remaining_time(
        self, page: Page, proxy: ServiceProxy, service: Service, tmp_path: Path
    ) -> None:
        (tmp_path / "pancakes.jpg").write_bytes(photo(size=32 * MIB)["buffer"])
        await page.goto(proxy.url)
        proxy.script.follow(Plan(call="PATCH /uploads/{id}", fault=Fault.HELD))
        await page.get_by_label("Choose a photo").set_input_files(tmp_path / "pancakes.jpg")
        await page.get_by_role("button", name="Upload").click()

        bar = page.get_by_role("progressbar")
        await expect(page.locator(".state")).to_have_text(
            re.compile(r"^[\d.]+ MB of 33\.6 MB · .+/s · \d+ (s|min) left$")
        )
        assert 0 < float(await bar.evaluate("(bar) => bar.position")) < 1
        proxy.script.follow()

        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        await expect(page.locator("#announcer")).to_have_text("pancakes has been stored.")
        assert labels(service) == ["pancakes"]

    async def test_warns_before_the_page_is_left(self, page: Page, proxy: ServiceProxy) -> None:
        await page.goto(proxy.url)
        assert await may_leave(page)
        proxy.script.follow(*held_uploads())
        await choose(page, photo(size=MIB))
        await page.get_by_role("button", name="Upload").click()
        await expect(page.get_by_role("progressbar")).to_be_visible()

        async with page.expect_event("dialog") as asked:
            await page.close(run_before_unload=True)
        dialog = await asked.value
        await dialog.dismiss()

        assert dialog.type == "beforeunload"
        assert not await may_leave(page)
        await page.get_by_role("button", name="Cancel").click()
        assert await may_leave(page)

    @pytest.mark.parametrize(
        "size", [{"width": 1000, "height": 800}, {"width": 320, "height": 640}], ids=["wide", "narrow"]
    )
    async def test_is_not_cancelled_by_a_second_tap(self, page: Page, proxy: ServiceProxy, size: ViewportSize) -> None:
        await page.set_viewport_size(size)
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await choose(page, photo(size=MIB))
        await page.get_by_role("button", name="Upload").dblclick()

        await expect(page.get_by_role("progressbar")).to_be_visible()
        proxy.script.follow()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")

    async def test_is_not_cancelled_by_a_held_key(self, page: Page, proxy: ServiceProxy) -> None:
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await choose(page, photo(size=MIB))
        await page.get_by_role("button", name="Upload").focus()
        await page.keyboard.down("Enter")
        await page.keyboard.down("Enter")
        await page.keyboard.up("Enter")

        await expect(page.get_by_role("progressbar")).to_be_visible()
        proxy.script.follow()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")

    async def test_cancelled_too_late_creates_one_recipe(
        self, page: Page, proxy: ServiceProxy, service: Service
    ) -> None:
        await page.goto(proxy.url)
        proxy.script.follow(Plan(call="POST /recipe", fault=Fault.RESPONSE_STALLED))
        await choose(page, photo())
        await page.get_by_role("button", name="Upload").click()
        await expect(page.locator(".state")).to_have_text("Storing …")
        assert eventually(lambda: labels(service) == ["pancakes"])
        await page.get_by_role("button", name="Cancel").click()

        await expect(page.locator(".state")).to_have_text("Cancelled, maybe too late. Upload it again to be sure.")
        await expect(page.get_by_role("form", name="pancakes.jpg").get_by_label("Label")).not_to_be_editable()
        proxy.script.follow()
        await page.get_by_role("button", name="Upload").click()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]

    async def test_stopped_by_the_browser_can_be_retried(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit
    ) -> None:
        visit.expect("409 (Conflict)")  # if the service has not noticed the end of the first attempt
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await choose(page, photo(size=MIB))
        await page.get_by_role("button", name="Upload").click()
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await page.evaluate("stop()")

        await expect(page.locator(".state")).to_have_text("The connection was lost. Try again.")
        proxy.script.follow()
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator("#tiles h3")).to_have_text("pancakes")
        assert labels(service) == ["pancakes"]

    async def test_sends_two_at_a_time_in_order(self, page: Page, proxy: ServiceProxy) -> None:
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await choose(page, *(photo(f"{name}.jpg", size=MIB) for name in ("one", "two", "three")))
        await page.get_by_role("button", name="Upload all").click()

        await expect(page.get_by_role("form", name="three.jpg")).to_contain_text("Waiting for its turn")
        await expect(page.get_by_role("progressbar")).to_have_count(2)
        await page.get_by_role("form", name="one.jpg").get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("form", name="three.jpg").get_by_role("progressbar")).to_be_visible()
        proxy.script.follow()

        await expect(page.locator("#tiles h3")).to_have_count(2)
        await expect(page.get_by_text("Stored", exact=True)).to_have_count(2)


async def test_over_plain_http_photos_are_uploaded_and_addresses_copied_by_hand(
    page: Page, context: BrowserContext, service: Service
) -> None:
    # Browsers count this machine as secure; elsewhere these are missing without https.
    await context.add_init_script("delete Crypto.prototype.randomUUID; delete Navigator.prototype.clipboard;")
    await page.goto(service.url)
    await choose(page, photo())
    async with page.expect_request("**/recipe") as sent:
        await page.get_by_role("button", name="Upload").click()
    key = (await sent.value).headers["idempotency-key"]
    async with page.expect_event("dialog") as asked:
        copying = asyncio.create_task(page.get_by_role("button", name="Copy the address").click())
    dialog = await asked.value

    assert re.fullmatch("[0-9a-f]{32}", key)
    assert dialog.type == "prompt"
    assert dialog.default_value.startswith("http://")
    await dialog.dismiss()
    await copying
