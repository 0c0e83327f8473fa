"""A browser for all tests of the page, and a visitor of its own for each."""

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.chromium import Visit, browsing, required_chromium
from tests.support.service import Service
from tests.support.service_proxy import ServiceProxy, proxied

expect.set_options(timeout=10_000)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with browsing(required_chromium()) as opened:
        yield opened


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A visitor who was never here before."""
    opened = await browser.new_context(viewport={"width": 1000, "height": 800}, locale="en-GB")
    opened.set_default_timeout(10_000)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def visit(context: BrowserContext) -> AsyncIterator[Visit]:
    """What the visitor's browser says; nothing of it may be a complaint that the test did not expect."""
    watched = Visit(context)
    yield watched
    assert watched.unexpected == []


@pytest.fixture
async def page(context: BrowserContext, visit: Visit) -> Page:  # noqa: ARG001 - it watches
    return await context.new_page()


@pytest.fixture
def proxy(service: Service) -> Iterator[ServiceProxy]:
    """What stands between the visitor and the service, and may do harm."""
    with proxied(service) as running:
        yield running
