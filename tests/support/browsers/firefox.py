"""Debian's Firefox, controlled through WebDriver BiDi, which needs no driver."""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from tests.support.browsers.tab import WATCH, Tab

_ADDRESS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
_START_SECONDS = 90
_COMMAND_SECONDS = 30
_NO_PORT = 9
"""The port of the discard protocol, on which no test listens. Firefox uses no proxy for addresses of this machine."""
_PREFERENCES = {
    "app.update.disabledForTesting": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": _NO_PORT,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": _NO_PORT,
}
"""Preferences in addition to those that Firefox sets under WebDriver (`remote.prefs.recommended`): no other host is
contacted."""


class _Session:
    """A WebDriver BiDi session: commands with their results, in any order."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._results: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    async def read(self) -> None:
        async for message in self._socket:
            response = json.loads(message.data)
            if response["type"] != "event":
                self._results.pop(response["id"]).set_result(response)

    async def command(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self._numbers)
        result = self._results[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        response = await asyncio.wait_for(result, _COMMAND_SECONDS)
        assert response["type"] == "success", f"{method}: {response['error']}: {response['message']}"
        outcome: dict[str, Any] = response["result"]
        return outcome


class _FirefoxTab(Tab):
    def __init__(self, session: _Session, context: str) -> None:
        self._session = session
        self._context = context

    async def open(self, url: str) -> None:
        await self._command("browsingContext.navigate", url=url, wait="complete")

    async def evaluate(self, expression: str) -> object:
        found = await self._run(f"(async () => JSON.stringify(await ({expression})) ?? 'null')()")
        value: object = json.loads(found["value"])
        return value

    async def locate(self, expression: str) -> dict[str, Any]:
        return {"type": "element", "element": await self._element(expression)}

    async def perform(self, source: dict[str, Any]) -> None:
        await self._command("input.performActions", actions=[source])

    async def choose(self, *files: Path) -> None:
        element = await self._element("document.querySelector('#photo')")
        await self._command("input.setFiles", element=element, files=[str(file) for file in files])

    async def screenshot(self) -> bytes:
        return base64.b64decode((await self._command("browsingContext.captureScreenshot"))["data"])

    async def close(self) -> None:
        await self._command("browsingContext.close")

    async def _element(self, expression: str) -> dict[str, str]:
        return {"sharedId": (await self._run(expression))["sharedId"]}

    async def _run(self, script: str) -> dict[str, Any]:
        target = {"context": self._context}
        response = await self._session.command("script.evaluate", expression=script, target=target, awaitPromise=True)
        assert response["type"] == "success", f"{script}: {response.get('exceptionDetails', {}).get('text')}"
        found: dict[str, Any] = response["result"]
        return found

    async def _command(self, method: str, **params: object) -> dict[str, Any]:
        return await self._session.command(method, context=self._context, **params)


class Firefox:
    """A running Firefox."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """Open a tab in its own container, which shares no storage with others."""
        command = self._session.command
        visitor = (await command("browser.createUserContext"))["userContext"]
        context = (await command("browsingContext.create", type="tab", userContext=visitor))["context"]
        await command("script.addPreloadScript", functionDeclaration=WATCH, contexts=[context])
        try:
            yield _FirefoxTab(self._session, context)
        finally:
            await command("browser.removeUserContext", userContext=visitor)


@asynccontextmanager
async def firefox() -> AsyncIterator[Firefox]:
    """Debian's Firefox without a window, with its own home folder and profile."""
    path = shutil.which("firefox-esr")
    if path is None:
        pytest.skip("firefox-esr is not installed (Debian: apt-get install firefox-esr)")
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        async with (
            _process(path, Path(home)) as address,
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{address}/session", max_msg_size=0) as socket,
        ):
            session = _Session(socket)
            reading = asyncio.create_task(session.read())
            await session.command("session.new", capabilities={})
            yield Firefox(session)
            await session.command("browser.close")
            await reading


@asynccontextmanager
async def _process(path: str, home: Path) -> AsyncIterator[str]:
    """Run Firefox, and yield the address of its WebDriver."""
    profile = home / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    process = await asyncio.create_subprocess_exec(
        path,
        *("--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0", "about:blank"),
        env={**os.environ, "HOME": str(home)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            address = await _address(process.stderr)
        draining = asyncio.create_task(process.stderr.read())
        yield address
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    await draining


async def _address(output: asyncio.StreamReader) -> str:
    said = b""
    async for line in output:
        said += line
        if found := _ADDRESS.search(line):
            return found[1].decode()
    pytest.fail(f"Firefox ended before it could be driven: {said.decode(errors='replace')}")
