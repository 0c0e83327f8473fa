"""What the server and the web layer share of ASGI. Neither imports the other.

Both extensions are optional. Under another server an upload works as well, only with more CPU time, and the service
does not report that it is shutting down.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from recipe_api.read_ahead import ReadAhead

STOPPING = "recipe_api.stopping"
"""The key in the lifespan's `state`, which each request sees. The value is a `Callable[[], bool]` that returns whether
the service is shutting down."""

READ_AHEAD = "recipe_api.read_ahead"
"""The key in a request's `extensions`. The value is a `ReadAhead`."""

_HEADERS = "recipe_api.headers"


class RequestHeaders:
    """The headers of a request. Names are in lower case."""

    __slots__ = ("_last", "fields")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self.fields = fields
        self._last = dict(fields)

    def __contains__(self, name: bytes) -> bool:
        """Return whether there is a header with a name."""
        return name in self._last

    def value(self, name: bytes) -> bytes | None:
        """Return the value of a header that occurs once; None if it is missing."""
        return self._last.get(name)

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all headers with a name."""
        return [value for found, value in self.fields if found == name] if name in self._last else []

    def content_length(self) -> int | None:
        """Return the value of `Content-Length`; None if it is missing or not a number."""
        digits = self._last.get(b"content-length", b"").strip()
        return int(digits.lstrip(b"0") or b"0") if digits.isdigit() else None  # int() rejects more than 4300 digits


def headers_of(scope: MutableMapping[str, Any]) -> RequestHeaders:
    """Return the headers of a request. They are looked up by name in almost every layer, and indexed only once."""
    headers: RequestHeaders | None = scope.get(_HEADERS)
    if headers is None or headers.fields is not scope["headers"]:
        headers = scope[_HEADERS] = RequestHeaders(scope["headers"])
    return headers


def read_ahead_of(scope: Mapping[str, Any]) -> ReadAhead | None:
    """Return the control over how far a request's body is read ahead; None if the server has none."""
    read_ahead: ReadAhead | None = scope.get("extensions", {}).get(READ_AHEAD)
    return read_ahead


def is_stopping(scope: Mapping[str, Any]) -> bool:
    """Return whether the service that received this request is shutting down."""
    stopping: Callable[[], bool] | None = scope.get("state", {}).get(STOPPING)
    return stopping is not None and stopping()
