"""The queue as a whole: its progress, and the buttons and the drop target that apply to all of it."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, ViewportSize, expect

from tests.support.chromium import Visit
from tests.support.photos import MIB, choose, labels, photo
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy, held_uploads

DRAG = """([type, kind]) => {
    const data = new DataTransfer();
    if (kind === "file") data.items.add(new File(["\\xff"], "soup.jpg", { type: "image/jpeg" }));
    else data.setData("text/plain", "soup");
    const init = { bubbles: true, cancelable: true, dataTransfer: data };
    document.querySelector("h1").dispatchEvent(new DragEvent(type, init));
}"""


class TestOverallProgress:
    async def test_counts_what_is_stored_and_how_much_has_been_sent(self, page: Page, service: Service) -> None:
        gates = [asyncio.Event() for _ in range(3)]
        waiting = iter(gates)

        async def pass_on(route: Route) -> None:
            if route.request.method == "POST":
                await next(waiting).wait()
            await route.continue_()

        await page.route("**/recipe", pass_on)
        await page.goto(service.url)
        await choose(page, *(photo(f"{name}.jpg") for name in ("one", "two", "three")))
        overall = page.locator("#overall")
        await expect(overall).to_be_empty()
        await page.get_by_role("button", name="Upload all").click()
        await expect(overall).to_have_text(re.compile(r"^0 of 3 · \d+ %$"))
        gates[0].set()
        await expect(overall).to_have_text(re.compile(r"^1 of 3 · (3[3-9]|[4-9]\d) %$"))
        gates[1].set()
        await expect(overall).to_have_text(re.compile(r"^2 of 3 · (6[6-9]|[7-9]\d|100) %$"))
        gates[2].set()

        await expect(page.locator("#tiles h3")).to_have_count(3)
        assert sorted(labels(service)) == ["one", "three", "two"]

    async def test_follows_the_bytes_that_are_sent(self, page: Page, proxy: ServiceProxy, tmp_path: Path) -> None:
        files = [tmp_path / f"{name}.jpg" for name in ("one", "two")]
        for file in files:
            file.write_bytes(photo(size=8 * MIB)["buffer"])
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await page.get_by_label("Choose a photo").set_input_files(files)
        await page.get_by_role("button", name="Upload all").click()

        # All bytes may fit into the buffers of the sockets.
        await expect(page.locator("#overall")).to_have_text(re.compile(r"^0 of 2 · ([1-9]\d?|100) %$"))
        proxy.script.follow()
        await expect(page.locator("#tiles h3")).to_have_count(2)

    async def test_is_not_shown_for_one_photo(self, page: Page, proxy: ServiceProxy) -> None:
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await choose(page, photo(size=MIB))
        await page.get_by_role("button", name="Upload").click()
        await expect(page.get_by_role("progressbar")).to_be_visible()

        await expect(page.locator("#overall")).to_be_empty()
        await expect(page.get_by_role("button", name="Cancel all")).to_be_hidden()
        proxy.script.follow()
        await expect(page.locator("#tiles h3")).to_have_count(1)


class TestCancelAll:
    async def test_cancels_what_is_in_progress_and_what_waits(
        self, page: Page, proxy: ServiceProxy, service: Service, visit: Visit, tmp_path: Path
    ) -> None:
        visit.expect(
            "409 (Conflict)"
        )  # if the second attempt arrives before the service has noticed the end of the first
        files = [tmp_path / f"{name}.jpg" for name in ("one", "two", "three")]
        for file in files:
            file.write_bytes(photo(size=32 * MIB)["buffer"])  # more than the buffers on the way hold
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await page.get_by_label("Choose a photo").set_input_files(files)
        await page.get_by_role("button", name="Upload all").click()
        await expect(page.get_by_role("progressbar")).to_have_count(2)
        await page.get_by_role("button", name="Cancel all").press("Enter")

        await expect(page.get_by_text("Cancelled.")).to_have_count(3)
        await expect(page.get_by_role("heading", name="Uploads")).to_be_focused()
        await expect(page.get_by_role("button", name="Cancel all")).to_be_hidden()
        await expect(page.locator("#overall")).to_be_empty()
        proxy.script.follow()
        assert labels(service) == []
        await page.get_by_role("button", name="Upload all").click()
        await expect(page.locator("#tiles h3")).to_have_count(3)

    @pytest.mark.parametrize("width", [320, *(pytest.param(w, marks=pytest.mark.exhaustive) for w in (420, 480)), 1000])
    async def test_is_not_hit_by_a_second_tap_on_upload_all(self, page: Page, proxy: ServiceProxy, width: int) -> None:
        size: ViewportSize = {"width": width, "height": 800}
        await page.set_viewport_size(size)
        await page.goto(proxy.url)
        proxy.script.follow(*held_uploads())
        await choose(page, photo("one.jpg", size=MIB), photo("two.jpg", size=MIB))
        await page.get_by_role("button", name="Upload all").dblclick()

        await expect(page.get_by_role("progressbar")).to_have_count(2)
        proxy.script.follow()
        await expect(page.locator("#tiles h3")).to_have_count(2)


class TestTheDropTarget:
    async def test_covers_the_page_while_files_are_dragged(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        target = page.get_by_text("Drop the photos anywhere")
        await expect(target).to_be_hidden()
        await page.evaluate(DRAG, ["dragover", "file"])

        await expect(target).to_be_visible()
        box = await target.bounding_box()
        assert box is not None
        assert box["width"] > 0.97 * 1000
        assert box["height"] > 0.97 * 800
        await page.evaluate(DRAG, ["drop", "file"])
        await expect(target).to_be_hidden()
        await expect(page.locator("#queue form")).to_have_count(1)

    async def test_goes_when_the_files_leave_the_window(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        await page.evaluate(DRAG, ["dragover", "file"])
        await page.evaluate(DRAG, ["dragleave", "file"])

        await expect(page.get_by_text("Drop the photos anywhere")).to_be_hidden()

    async def test_does_not_appear_for_text(self, page: Page, service: Service) -> None:
        await page.goto(service.url)
        await expect(page.get_by_text("Nothing here yet")).to_be_visible()
        await page.evaluate(DRAG, ["dragover", "text"])

        await expect(page.get_by_text("Drop the photos anywhere")).to_be_hidden()


async def test_rows_are_compact(page: Page, service: Service) -> None:
    await page.goto(service.url)
    await choose(page, *(photo(f"dish {number}.jpg") for number in range(8)))
    heights = await page.locator("#queue li").evaluate_all("(rows) => rows.map((row) => row.offsetHeight)")

    assert len(heights) == 8
    assert max(heights) <= 84
