"""A tab of any browser, controlled through what all of them support: scripts, a keyboard, a pointer, and files.

Elements are named by expressions of JavaScript, such as those that `find` and `tile` return.
"""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest

_PATIENCE_SECONDS = 60
_POLL_SECONDS = 0.025
ENTER, ESCAPE, LEFT, RIGHT = "\ue007", "\ue00c", "\ue012", "\ue014"
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
"""Records errors, warnings, and violations of the page's Content-Security-Policy."""


def find(selector: str, text: str = "") -> str:
    """Return an expression for the first visible element that matches a selector, with exactly this text or title if
    given.
    """
    matches = f"&& [element.textContent.trim(), element.title].includes({json.dumps(text)})" if text else ""
    return (
        f"[...document.querySelectorAll({json.dumps(selector)})].find((element) => element.checkVisibility() {matches})"
    )


class Tab(ABC):
    """The tab of a visitor without cookies or storage."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Load a page."""

    @abstractmethod
    async def evaluate(self, expression: str) -> object:
        """Await an expression and return its value, which must be JSON."""

    @abstractmethod
    async def locate(self, expression: str) -> dict[str, Any]:
        """Return the protocol's reference to the element of this expression."""

    @abstractmethod
    async def perform(self, source: dict[str, Any]) -> None:
        """Perform the actions of one input source, which both protocols describe in the same way."""

    @abstractmethod
    async def choose(self, *files: Path) -> None:
        """Choose photos as in the browser's own dialog."""

    @abstractmethod
    async def screenshot(self) -> bytes:
        """Return the visible part of the page as a PNG."""

    @abstractmethod
    async def close(self) -> None:
        """Close the tab without a confirmation."""

    async def holds(self, condition: str) -> bool:
        """Return whether a condition is true in the page now."""
        return await self.evaluate(f"Boolean({condition})") is True

    async def until(self, condition: str) -> None:
        """Wait until a condition is true in the page; fail if that takes too long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not await self.holds(condition):
            if time.monotonic() > deadline:
                body = await self.evaluate("document.body.innerText")
                pytest.fail(f"This never became true: {condition}\nThe page shows:\n{body}")
            await asyncio.sleep(_POLL_SECONDS)

    async def click(self, element: str) -> None:
        """Click an element once it exists."""
        await self.until(element)
        await self.evaluate(f"{element}.scrollIntoView({{ block: 'nearest' }})")
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": await self.locate(element)}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        await self.perform({"type": "pointer", "id": "mouse", "actions": [move, *press]})

    async def press(self, keys: str) -> None:
        """Type into the focused element."""
        steps = [{"type": step, "value": key} for key in keys for step in ("keyDown", "keyUp")]
        await self.perform({"type": "key", "id": "keyboard", "actions": steps})

    async def fill(self, field: str, text: str) -> None:
        """Replace the contents of a field."""
        await self.until(field)
        await self.evaluate(f"({field}.focus(), {field}.select())")
        await self.press(text)

    async def complaints(self) -> object:
        """Return the errors and warnings of the page."""
        return await self.evaluate("window.complaints")
