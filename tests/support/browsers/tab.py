"""A tab of any browser, driven through what all of them offer: scripts in the page, a keyboard, a pointer, and files.

Elements are named by expressions of JavaScript, such as those that `find` and `tile` return.
"""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

_PATIENCE_SECONDS = 20
_POLL_SECONDS = 0.025
ENTER, ESCAPE = "\ue007", "\ue00c"
"""Keys as WebDriver names them (Keyboard Actions)."""
WATCH = """() => {
    if (window.complaints) return;
    window.complaints = [];
    const note = (...what) => window.complaints.push(what.map(String).join(" "));
    for (const level of ["error", "warn"]) {
        const real = console[level];
        console[level] = (...what) => { note(...what); real.apply(console, what); };
    }
    addEventListener("error", ({ message }) => message && note(message));
    addEventListener("unhandledrejection", ({ reason }) => note(reason));
    addEventListener("securitypolicyviolation", (event) => note(event.violatedDirective, event.blockedURI));
}"""
"""Notes what the page does wrong: errors, warnings, and violations of its Content-Security-Policy."""


def find(selector: str, text: str = "") -> str:
    """The first element in sight that matches a selector, and has exactly this text or title if one is given."""
    matches = f"&& [element.textContent.trim(), element.title].includes({json.dumps(text)})" if text else ""
    return (
        f"[...document.querySelectorAll({json.dumps(selector)})].find((element) => element.checkVisibility() {matches})"
    )


class Tab(ABC):
    """The tab of a visitor who was never here before."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Loads a page."""

    @abstractmethod
    async def evaluate(self, expression: str) -> object:
        """The value of an expression, awaited, which must be JSON."""

    @abstractmethod
    async def locate(self, expression: str) -> dict[str, Any]:
        """How the protocol refers to the element of this expression."""

    @abstractmethod
    async def perform(self, source: dict[str, Any]) -> None:
        """Performs the actions of one input source, which the two protocols describe alike."""

    @abstractmethod
    async def choose(self, *files: Path) -> None:
        """Picks photos, as if in the browser's own dialog."""

    @abstractmethod
    async def screenshot(self) -> bytes:
        """What is in sight, as a PNG."""

    @abstractmethod
    async def close(self) -> None:
        """Closes the tab without a question, as a person would."""

    async def holds(self, condition: str) -> bool:
        """Whether the condition holds in the page now."""
        return await self.evaluate(f"Boolean({condition})") is True

    async def until(self, condition: str) -> None:
        """Returns when the condition holds in the page; fails when that takes too long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not await self.holds(condition):
            if time.monotonic() > deadline:
                body = await self.evaluate("document.body.innerText")
                pytest.fail(f"This never became true: {condition}\nThe page shows:\n{body}")
            await asyncio.sleep(_POLL_SECONDS)

    async def click(self, element: str) -> None:
        """Clicks an element once it is there."""
        await self.until(element)
        await self.evaluate(f"{element}.scrollIntoView({{ block: 'nearest' }})")
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": await self.locate(element)}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        await self.perform({"type": "pointer", "id": "mouse", "actions": [move, *press]})

    async def press(self, keys: str) -> None:
        """Types into what has the focus."""
        steps = [{"type": step, "value": key} for key in keys for step in ("keyDown", "keyUp")]
        await self.perform({"type": "key", "id": "keyboard", "actions": steps})

    async def fill(self, field: str, text: str) -> None:
        """Replaces what is in a field."""
        await self.until(field)
        await self.evaluate(f"({field}.focus(), {field}.select())")
        await self.press(text)

    async def complaints(self) -> object:
        """A list of what the page has complained of."""
        return await self.evaluate("window.complaints")
