"""Debian's WebKitGTK in its MiniBrowser, controlled through WebDriver, on a separate display."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from tests.support.browsers.tab import WATCH, Tab
from tests.support.ports import free_port
from tests.support.service import HOST, NO_TLS

_START_SECONDS = 60
_POLL_SECONDS = 0.05
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of a reference to an element (WebDriver, Elements)."""
_PACKAGES = {"WebKitWebDriver": "webkit2gtk-driver", "Xvfb": "xvfb"}
"""Debian packages by the programs that the tests need from them."""


class _Driver:
    """A WebDriver and its session."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def started(self) -> None:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                with suppress(httpx.TransportError):
                    await self.command("GET", "/status")
                    return
                await asyncio.sleep(_POLL_SECONDS)

    async def command(self, method: str, path: str, **params: object) -> dict[str, Any]:
        """Send a command, and return its result."""
        response = await self._client.request(method, path, json=params if method == "POST" else None)
        found: dict[str, Any] = response.json()
        assert response.is_success, f"{path}: {found['value']}"
        return found


class _WebKitTab(Tab):
    def __init__(self, driver: _Driver, session: str) -> None:
        self._driver = driver
        self._session = session

    async def open(self, url: str) -> None:
        await self._command("POST", "/url", url=url)
        await self._run(f"({WATCH})()")

    async def evaluate(self, expression: str) -> object:
        script = f"return (async () => JSON.stringify(await ({expression})) ?? 'null')()"
        value: object = json.loads((await self._run(script))["value"])
        return value

    async def locate(self, expression: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self._run(f"return {expression}"))["value"]
        return found

    async def perform(self, source: dict[str, Any]) -> None:
        await self._command("POST", "/actions", actions=[source])

    async def choose(self, *files: Path) -> None:
        element = await self.locate("document.querySelector('#photo')")
        await self._command("POST", f"/element/{element[_ELEMENT]}/value", text="\n".join(map(str, files)))

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self._command("GET", "/screenshot"))["value"])

    async def close(self) -> None:
        await self._command("DELETE", "/window")

    async def _run(self, script: str) -> dict[str, Any]:
        return await self._command("POST", "/execute/sync", script=script, args=[])

    async def _command(self, method: str, path: str, **params: object) -> dict[str, Any]:
        return await self._driver.command(method, f"/session/{self._session}{path}", **params)


class WebKit:
    """A WebDriver that starts a browser for each tab."""

    def __init__(self, driver: _Driver, browser: str) -> None:
        self._driver = driver
        self._browser = browser

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """Open the only tab of a new browser, which stores nothing."""
        options = {"binary": self._browser, "args": ["--automation"]}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session = (await self._driver.command("POST", "/session", capabilities=wanted))["value"]["sessionId"]
        try:
            yield _WebKitTab(self._driver, session)
        finally:
            with suppress(AssertionError):  # if the test has closed the tab, the session has ended with it
                await self._driver.command("DELETE", f"/session/{session}")


@asynccontextmanager
async def webkit() -> AsyncIterator[WebKit]:
    """Debian's WebKitGTK."""
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    browser = _mini_browser()
    if missing or browser is None:
        name = " ".join(missing) or "MiniBrowser of webkit2gtk-driver"
        pytest.skip(f"{name} is not installed (Debian: apt-get install webkit2gtk-driver xvfb)")
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        async with _display() as display, _process(display, Path(home)) as driver:
            yield WebKit(driver, browser)


def _mini_browser() -> str | None:
    """Return its path, which is outside PATH and depends on the architecture and the version."""
    found = sorted(Path("/usr/lib").glob("*/webkit*gtk-*/MiniBrowser"))
    return str(found[-1]) if found else None


@asynccontextmanager
async def _display() -> AsyncIterator[str]:
    """Run an X server without a screen, and yield the name of its display."""
    readable, writable = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *("Xvfb", "-displayfd", str(writable), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"),
        pass_fds=(writable,),
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(writable)
    try:
        with os.fdopen(readable) as named:
            yield f":{(await asyncio.to_thread(named.readline)).strip()}"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _process(display: str, home: Path) -> AsyncIterator[_Driver]:
    """Run the driver. The browser's sandbox does not work as root, or in most containers."""
    port = free_port()
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "DISPLAY": display,
        "GDK_BACKEND": "x11",
        "NO_AT_BRIDGE": "1",  # no bus to look for screen readers on
        "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *("WebKitWebDriver", f"--host={HOST}", f"--port={port}"), env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        address = f"http://{HOST}:{port}"
        async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False, verify=NO_TLS) as client:
            driver = _Driver(client)
            await driver.started()
            yield driver
    finally:
        process.terminate()
        await process.wait()
