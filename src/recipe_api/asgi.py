"""What the server and the web layer share of ASGI; both stand on the same level and do not know each other.

`WINDOW` says how far ahead a request's body may be read. Under another server it is not there, and an upload goes as
well, only at the price of more CPU. `STOPPING` is how the app learns that the service is shutting down.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

STOPPING = "recipe_api.stopping"
"""Its name in the lifespan's `state`, which each request sees. The value is a `Callable[[], bool]` that returns whether
the service is shutting down. Under another server it is missing."""

WINDOW = "recipe_api.window"
"""Its name in a request's `extensions`. What stands there is a `Window`."""


class Window(Protocol):
    """How much of a request's body may be read before it is asked for.

    The term is HTTP/2's (RFC 9113 §5.2). Once it was widened, the chunks that come out of `receive` may be views of
    memory, which does not change any more, in place of bytes.
    """

    def widen(self, size: int) -> None:
        """There is room for `size` bytes more of it, beyond all that was told before."""

    def shut(self) -> None:
        """There is no room any more, nor any use for what lies unread. Whoever reads on gets what comes after that."""


class NoWindow:
    """The window of a body of which no more is read than was asked for."""

    def widen(self, size: int) -> None:
        """Nobody heeds it."""

    def shut(self) -> None:
        """Nor this."""


NO_WINDOW = NoWindow()


def window_of(scope: Mapping[str, Any]) -> Window:
    """The window of a request."""
    window: Window = scope.get("extensions", {}).get(WINDOW, NO_WINDOW)
    return window


def header_values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the values of all headers with a name.

    Args:
        headers: As ASGI passes them, with names in lower case.
        name: In lower case.
    """
    return [value for found, value in headers if found == name]


def content_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Return the value of `Content-Length`; None if it is missing or not a number.

    Args:
        headers: As ASGI passes them, with names in lower case.
    """
    for name, value in headers:
        if name == b"content-length" and (digits := value.strip()).isdigit():
            return int(digits.lstrip(b"0") or b"0")  # Python's int() rejects more than 4300 digits
    return None


def is_stopping(scope: Mapping[str, Any]) -> bool:
    """Return whether the service that received this request is shutting down."""
    stopping: Callable[[], bool] | None = scope.get("state", {}).get(STOPPING)
    return stopping is not None and stopping()
