"""This machine's Chromium, driven by Playwright, and visits to the page, which must cause no errors in the browser."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, async_playwright

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
"""The headless shell is the same browser without a user interface, and takes a third of the CPU time for each visit."""
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",  # it would look up hosts of its vendor at each start
    "--disable-component-update",
    "--disable-sync",
)


MISSING = "no Chromium is installed (Debian: apt-get install chromium-headless-shell)"


def chromium() -> str | None:
    """Return its path, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def required_chromium() -> str:
    """Return its path. Without it, skip the test; in CI, fail."""
    path = chromium()
    if path is None and os.environ.get("CI"):
        pytest.fail(MISSING)
    if path is None:
        pytest.skip(MISSING)
    return path


@asynccontextmanager
async def browsing(path: str) -> AsyncIterator[Browser]:
    """Yield a browser without a window."""
    async with async_playwright() as playwright:
        # Its sandbox does not work as root.
        browser = await playwright.chromium.launch(
            executable_path=path, args=_FLAGS, chromium_sandbox=os.geteuid() != 0
        )
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """The errors and requests of one visitor's browser."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self.requests: list[str] = []
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self.requests.append(request.url))

    def expect(self, *parts: str) -> None:
        """Allow errors that contain one of these words, such as the status of an error response."""
        self.expected += parts

    @property
    def unexpected(self) -> list[str]:
        return [each for each in self.complaints if not any(part in each for part in self.expected)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location['url']})")


async def held_back(page: Page, address: str, method: str) -> asyncio.Event:
    """Hold such requests in the browser until the returned event is set."""
    gate = asyncio.Event()

    async def pass_on(route: Route) -> None:
        if route.request.method == method:
            await gate.wait()
        await route.continue_()

    await page.route(address, pass_on)
    return gate


async def axe_findings(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it is now, by rule and element."""
    await page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = await page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [f"{rule['id']}: {node['target']}" for rule in found["violations"] for node in rule["nodes"]]
