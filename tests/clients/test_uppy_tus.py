"""Uppy's plugin for tus in Chromium: the documented page, on a network that fails."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.clients.browser import served
from tests.clients.catalogue import npm_package
from tests.clients.workbench import FOLDER, Workbench
from tests.support.chromium import browsing, required_chromium
from tests.support.forms import jpeg
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy, proxied
from tests.support.traces import Backstage, eventually

WAIT_MS = 60_000
APPEND = "PATCH /uploads/{id}"
PHOTO = jpeg(40_000_000)

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing(required_chromium()) as opened:
        yield opened


@asynccontextmanager
async def uploading(browser: Browser, proxy: ServiceProxy, folder: Path) -> AsyncIterator[Page]:
    """Yield a visitor's page that has begun to upload."""
    workbench = Workbench(FOLDER)
    if lack := npm_package("uppy")(workbench):
        pytest.skip(f"{lack}; scripts/clients installs packages")
    workbench.copy_examples()
    path = folder / "pancakes.jpg"
    path.write_bytes(PHOTO)
    with served(workbench.folder, proxy.url) as origin:
        context = await browser.new_context()
        try:
            page = await context.new_page()
            await page.goto(f"{origin}/uppy-tus.html")
            await page.locator("input.uppy-Dashboard-input").first.set_input_files(path)
            await page.wait_for_function("() => uppy.getFiles().length === 1 && uppy.getFiles()[0].meta.label")
            await page.evaluate("() => { uppy.upload().catch(() => {}) }")
            yield page
        finally:
            await context.close()


async def complete(page: Page) -> None:
    """Wait until the photo is uploaded."""
    await page.wait_for_function("() => uppy.getFiles()[0]?.progress.uploadComplete", timeout=WAIT_MS)


def assert_made(service: Service, backstage: Backstage) -> None:
    """Assert that there is one recipe of the photo, and that nothing else is left."""
    with service.client() as client:
        [recipe] = client.get("/recipe").json()["items"]
    assert recipe["label"] == "pancakes.jpg"
    assert_stored(recipe, PHOTO, backstage)
    assert eventually(lambda: backstage.objects() == [recipe["key"]])


async def test_a_photo_of_40_mb_survives_two_network_failures(
    browser: Browser, start_service: Callable[..., Service], backstage: Backstage, tmp_path: Path
) -> None:
    service = start_service(CORS_ORIGINS="*")
    cuts = [Plan(call=APPEND, fault=Fault.RESET, nth=number) for number in (1, 2)]
    with proxied(service) as proxy:
        proxy.script.follow(*cuts)
        async with uploading(browser, proxy, tmp_path) as page:
            await complete(page)

    assert [cut.struck for cut in cuts] == [1, 1]
    await asyncio.to_thread(assert_made, service, backstage)


async def test_a_paused_photo_continues(
    browser: Browser, start_service: Callable[..., Service], backstage: Backstage, tmp_path: Path
) -> None:
    service = start_service(CORS_ORIGINS="*")
    held = Plan(call=APPEND, fault=Fault.HELD)
    with proxied(service) as proxy:
        proxy.script.follow(held)
        async with uploading(browser, proxy, tmp_path) as page:
            await asyncio.to_thread(held.reached.wait, 20)
            await page.evaluate("() => uppy.pauseAll()")
            held.gate.set()
            await page.evaluate("() => uppy.resumeAll()")
            await complete(page)

    await asyncio.to_thread(assert_made, service, backstage)


async def test_a_cancelled_photo_leaves_nothing(
    browser: Browser, start_service: Callable[..., Service], backstage: Backstage, tmp_path: Path
) -> None:
    service = start_service(CORS_ORIGINS="*")
    held = Plan(call=APPEND, fault=Fault.HELD)
    with proxied(service) as proxy:
        proxy.script.follow(held)
        async with uploading(browser, proxy, tmp_path) as page:
            await asyncio.to_thread(held.reached.wait, 20)
            await page.evaluate("() => uppy.cancelAll()")
            held.gate.set()
            ended = "SELECT FROM staged_upload WHERE ended_at IS NOT NULL"
            assert await asyncio.to_thread(eventually, lambda: len(backstage.sql(ended)) == 1)

    assert await asyncio.to_thread(backstage.nothing_is_left)
