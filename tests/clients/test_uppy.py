"""Uppy's plugin for S3, versions 5 and 6, in Chromium: the documented pages, on a network that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request, Route

from recipe_api.dev.stack import Stack
from recipe_api.uploads.staged_parts import PART_BYTES
from tests.clients.browser import served
from tests.clients.catalogue import npm_package
from tests.clients.workbench import FOLDER, Workbench
from tests.support.chromium import browsing, required_chromium
from tests.support.fault_proxy import StoreProxy
from tests.support.forms import jpeg
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.service import Service
from tests.support.traces import Backstage, eventually

PAGES = {"uppy": "uppy-s3.html", "uppy-5": "uppy-5-s3.html"}
WAIT_MS = 60_000
REMEMBERED = """async () => {
  const result = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const kept = Object.values(localStorage);
  for (const { name } of await indexedDB.databases()) {
    const database = await result(indexedDB.open(name));
    for (const store of database.objectStoreNames) {
      const records = await result(database.transaction(store).objectStore(store).getAll());
      kept.push(...records.map(({ metadata }) => metadata));
    }
    database.close();
  }
  return kept.some((each) => each?.includes("uploadId"));
}"""
"""Whether Uppy has stored the id of the upload, which it needs after a reload. It does so within a second."""

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]


@dataclass
class Uppy:
    """A visitor's page with Uppy."""

    page: Page
    context: BrowserContext
    origin: str
    example: str
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it to release the parts that are held."""
    arrived: list[str] = field(default_factory=list)
    """The parts that the store has accepted: the ends of their keys."""
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the store has accepted a part."""
    hold_after: int = 10_000
    """How many parts may pass before the others are held."""
    passed: int = 0

    async def open(self) -> None:
        self.context.on("requestfinished", self._note)
        await self.page.route("**/staged/**", self._pass_on)
        await self.page.goto(f"{self.origin}/{self.example}")

    async def choose(self, photo: Path) -> None:
        await self.page.locator("input.uppy-Dashboard-input").first.set_input_files(photo)
        await self.page.wait_for_function("() => uppy.getFiles().length === 1 && uppy.getFiles()[0].meta.size")

    async def begin(self) -> None:
        await self.page.evaluate("() => { uppy.upload().catch(() => {}) }")

    async def recipe(self) -> None:
        """Wait until the page has made a recipe."""
        await self.page.wait_for_function("() => uppy.getFiles()[0]?.progress.complete", timeout=WAIT_MS)

    async def parts(self, number: int) -> None:
        """Wait until the store has accepted this number of parts."""
        async with asyncio.timeout(WAIT_MS / 1000):
            while len(self.arrived) < number:
                self.accepted.clear()
                await self.accepted.wait()

    async def _pass_on(self, route: Route) -> None:
        if route.request.method == "PUT":
            if self.passed >= self.hold_after:
                await self.held.wait()
            self.passed += 1
        await route.continue_()

    def _note(self, request: Request) -> None:
        if request.method == "PUT":
            self.arrived.append(request.url.partition("?")[0][-10:-5])
            self.accepted.set()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing(required_chromium()) as opened:
        yield opened


@pytest.fixture
def service(start_service: Callable[..., Service]) -> Service:
    return start_service(CORS_ORIGINS="*")


@asynccontextmanager
async def visiting(browser: Browser, service: Service, version: str) -> AsyncIterator[Uppy]:
    workbench = Workbench(FOLDER)
    if lack := npm_package(version)(workbench):
        pytest.skip(f"{lack}; scripts/clients installs packages")
    workbench.copy_examples()
    with served(workbench.folder, service.url) as origin:
        context = await browser.new_context()
        try:
            uppy = Uppy(await context.new_page(), context, origin, PAGES[version])
            await uppy.open()
            yield uppy
        finally:
            await context.close()


def photo_of(folder: Path, size: int) -> tuple[Path, bytes]:
    path, photo = folder / "pancakes.jpg", jpeg(size)
    path.write_bytes(photo)
    return path, photo


def assert_made(photo: bytes, service: Service, backstage: Backstage) -> None:
    """Assert that the page has made one recipe of the photo, and that nothing else is left."""
    with service.client() as client:
        [recipe] = client.get("/recipe").json()["items"]
    assert recipe["label"] == "pancakes.jpg"
    assert_stored(recipe, photo, backstage)
    assert backstage.objects() == [recipe["key"]]


@pytest.mark.parametrize("version", PAGES)
async def test_a_photo_of_40_mb_survives_two_network_failures(
    browser: Browser,
    start_service: Callable[..., Service],
    stack: Stack,
    backstage: Backstage,
    tmp_path: Path,
    version: str,
) -> None:
    path, photo = photo_of(tmp_path, 40_000_000)
    cuts = [Plan(call="PutObject", fault=Fault.CUT_REQUEST, nth=number) for number in (3, 7)]
    with StoreProxy.before(stack.s3_endpoint_url).running() as store:
        service = start_service(CORS_ORIGINS="*", S3_ENDPOINT_URL=store.url)
        store.script.follow(*cuts)
        async with visiting(browser, service, version) as uppy:
            await uppy.choose(path)
            await uppy.begin()
            await uppy.recipe()
        assert [cut.struck for cut in cuts] == [1, 1]
        await asyncio.to_thread(assert_made, photo, service, backstage)


@pytest.mark.parametrize("version", PAGES)
async def test_a_paused_photo_continues_with_the_parts_that_are_missing(
    browser: Browser, service: Service, backstage: Backstage, tmp_path: Path, version: str
) -> None:
    path, photo = photo_of(tmp_path, 2 * PART_BYTES + 1000)
    async with visiting(browser, service, version) as uppy:
        uppy.hold_after = 1
        await uppy.choose(path)
        await uppy.begin()
        await uppy.parts(1)
        await uppy.page.evaluate("() => uppy.pauseAll()")
        uppy.hold_after = 10_000
        uppy.held.set()
        await uppy.page.evaluate("() => uppy.resumeAll()")
        await uppy.recipe()

    assert uppy.arrived.count(uppy.arrived[0]) == 1, "a part that had arrived was sent again"
    await asyncio.to_thread(assert_made, photo, service, backstage)


@pytest.mark.parametrize("version", PAGES)
async def test_a_photo_continues_after_the_page_was_reloaded(
    browser: Browser, service: Service, backstage: Backstage, tmp_path: Path, version: str
) -> None:
    path, photo = photo_of(tmp_path, PART_BYTES + 1000)
    async with visiting(browser, service, version) as uppy:
        uppy.hold_after = 1
        await uppy.choose(path)
        await uppy.begin()
        await uppy.parts(1)
        [first] = uppy.arrived
        await uppy.page.wait_for_function(REMEMBERED)
        uppy.hold_after = 10_000
        await uppy.page.reload()
        await uppy.page.wait_for_function("() => uppy.getFiles().length === 1 && uppy.getState().recoveredState")
        await uppy.page.locator("button.uppy-StatusBar-actionBtn--upload").click()
        await uppy.recipe()

    assert uppy.arrived.count(first) == 1, "a part that had arrived was sent again"
    await asyncio.to_thread(assert_made, photo, service, backstage)


@pytest.mark.parametrize("version", PAGES)
async def test_a_cancelled_photo_leaves_nothing(
    browser: Browser, service: Service, backstage: Backstage, tmp_path: Path, version: str
) -> None:
    path, _ = photo_of(tmp_path, 2 * PART_BYTES + 1000)
    async with visiting(browser, service, version) as uppy:
        uppy.hold_after = 1
        await uppy.choose(path)
        await uppy.begin()
        await uppy.parts(1)
        await uppy.page.evaluate("() => uppy.cancelAll()")
        ended = "SELECT FROM staged_upload WHERE ended_at IS NOT NULL"
        assert await asyncio.to_thread(eventually, lambda: len(backstage.sql(ended)) == 1)

    assert await asyncio.to_thread(backstage.nothing_is_left)


@pytest.mark.parametrize("version", PAGES)
async def test_the_page_says_why_a_photo_was_rejected(
    browser: Browser, service: Service, backstage: Backstage, tmp_path: Path, version: str
) -> None:
    path = tmp_path / "pancakes.jpg"
    path.write_text("<!doctype html><script>alert(1)</script>")
    async with visiting(browser, service, version) as uppy:
        await uppy.choose(path)
        await uppy.begin()
        await uppy.page.wait_for_function("() => uppy.getState().error", timeout=WAIT_MS)
        assert "image/jpeg" in await uppy.page.evaluate("() => uppy.getState().error")
        await uppy.page.get_by_text("Upload failed").first.wait_for()

    assert await asyncio.to_thread(backstage.nothing_is_left)
