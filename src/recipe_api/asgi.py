"""What the server and the web layer share of ASGI. Neither imports the other.

Both extensions are optional. Under another server an upload works as well, only with more CPU time, and the service
does not report that it is shutting down.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recipe_api.read_ahead import ReadAhead

STOPPING = "recipe_api.stopping"
"""The key in the lifespan's `state`, which each request sees. The value is a `Callable[[], bool]` that returns whether
the service is shutting down."""

READ_AHEAD = "recipe_api.read_ahead"
"""The key in a request's `extensions`. The value is a `ReadAhead`."""

Headers = Sequence[tuple[bytes, bytes]]
"""The headers of a request as ASGI passes them, with names in lower case."""


def read_ahead_of(scope: Mapping[str, Any]) -> ReadAhead | None:
    """Return the control over how far a request's body is read ahead; None if the server has none."""
    read_ahead: ReadAhead | None = scope.get("extensions", {}).get(READ_AHEAD)
    return read_ahead


def header_values(headers: Headers, name: bytes) -> list[bytes]:
    """Return the values of all headers with a name, given in lower case."""
    if name not in dict(headers):  # a faster search than the next line's
        return []
    return [value for found, value in headers if found == name]


def header_value(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of a header that occurs once, with its name given in lower case; None if it is missing."""
    return dict(headers).get(name)


def content_length(headers: Headers) -> int | None:
    """Return the value of `Content-Length`; None if it is missing or not a number."""
    digits = (header_value(headers, b"content-length") or b"").strip()
    return int(digits.lstrip(b"0") or b"0") if digits.isdigit() else None  # int() rejects more than 4300 digits


def is_stopping(scope: Mapping[str, Any]) -> bool:
    """Return whether the service that received this request is shutting down."""
    stopping: Callable[[], bool] | None = scope.get("state", {}).get(STOPPING)
    return stopping is not None and stopping()
