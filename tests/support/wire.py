"""A raw HTTP connection ("wire" in the tests): sends exactly the given bytes, and reads the responses."""

import json
import socket
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any, Self, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole response."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class _Received(RawIOBase):
    """Reads from a socket. Unlike the socket's `makefile`, it does not keep the socket open."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as in its parent
        return self._socket.recv_into(buffer)


class _KeptOpen:
    """The socket that `HTTPResponse` gets: it reads from the buffer of the connection, and does not close it."""

    def __init__(self, reader: "BufferedReader[_Received]") -> None:
        self._reader = reader

    def makefile(self, _: str) -> Self:
        return self

    def close(self) -> None:
        """Do nothing: the buffer may already contain the next response."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a reader
        return getattr(self._reader, name)


class Wire:
    """A connection to the service."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self._reader = BufferedReader(_Received(opened))

    def send(self, *pieces: bytes) -> None:
        """Send each piece in its own segment, as far as the system permits."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self.socket.sendall(piece)

    def end_sending(self) -> None:
        """Close the sending side; responses can still be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def read(self, *, method: str = "POST") -> Response:
        """Read the next response; `method` is that of the request, since a response to HEAD has no body."""
        response = HTTPResponse(cast("socket.socket", _KeptOpen(self._reader)), method=method)
        try:
            response.begin()
            return Response(status=response.status, headers=response.headers, body=response.read())
        finally:
            response.close()

    def read_exactly(self, size: int) -> bytes:
        """Read this many bytes, or fewer if the stream ends."""
        return self._reader.read(size)

    def is_closed(self) -> bool:
        """Wait for the next byte or the end, and return whether the service closed the connection."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True


def request(
    target: str, body: bytes = b"", *headers: str, method: str = "POST", version: str = "1.1", length: int | None = -1
) -> bytes:
    """Return the bytes of a request. `length` is the `Content-Length`: by default that of the body; None leaves it
    out.
    """
    lines = [f"{method} {target} HTTP/{version}", "Host: recipes.test", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body in chunked transfer coding (RFC 9112 §7.1), with one chunk for each piece."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + end
