"""The one extension of ASGI that the server and the web layer share: how far ahead a request's body may be read.

Both stand on the same level and do not know each other. Under another server the extension is not there, and an upload
goes as well, only at the price of more CPU.
"""

from collections.abc import Callable, Mapping
from typing import Any

WINDOW = "recipe_api.window"
"""Its name in a request's `extensions`. What stands there is a `Widen`."""

Widen = Callable[[int], None]
"""Tells whoever reads the body that there is room for so many bytes more of it, beyond all that was told before.

They may then be read before they are asked for (the term is HTTP/2's: RFC 9113 §5.2), and the chunks that come out of
`receive` may be views of memory, which does not change any more, in place of bytes.
"""


def unheeded(_: int) -> None:
    """The `Widen` of a body of which no more is read than was asked for."""


def window_of(scope: Mapping[str, Any]) -> Widen:
    """How to widen the window of a request."""
    widen: Widen = scope.get("extensions", {}).get(WINDOW, unheeded)
    return widen
