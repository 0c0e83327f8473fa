"""One browser for all tests of the page, and a new context for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.chromium import Visit, browsing, required_chromium
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy, proxied

PATIENCE_MILLISECONDS = 60_000
"""Time for a browser on a loaded machine."""

expect.set_options(timeout=PATIENCE_MILLISECONDS)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with browsing(required_chromium()) as opened:
        yield opened


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser context without earlier visits."""
    opened = await browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB")
    opened.set_default_timeout(PATIENCE_MILLISECONDS)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def visit(context: BrowserContext) -> AsyncIterator[Visit]:
    """The browser's console messages; unexpected errors fail the test."""
    watched = Visit(context)
    yield watched
    assert watched.unexpected == []


@pytest.fixture
async def page(context: BrowserContext, visit: Visit) -> Page:  # noqa: ARG001 - it watches
    return await context.new_page()


@pytest.fixture
def proxy(service: Service) -> Iterator[ServiceProxy]:
    """A proxy between the browser and the service that can break connections."""
    with proxied(service) as running:
        yield running
