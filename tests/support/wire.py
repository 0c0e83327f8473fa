"""A client that sends exactly the bytes it is given, and reads what comes back."""

import json
import socket
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any, Self, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, whole."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class _Received(RawIOBase):
    """What a socket receives; unlike its own `makefile`, this does not keep it open."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as its parent has it
        return self._socket.recv_into(buffer)


class _Kept:
    """What `HTTPResponse` takes for a socket: it reads from the connection's one buffer, and does not close it."""

    def __init__(self, reader: "BufferedReader[_Received]") -> None:
        self._reader = reader

    def makefile(self, _: str) -> Self:
        return self

    def close(self) -> None:
        """The next response may lie in the buffer already."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a reader has
        return getattr(self._reader, name)


class Wire:
    """One connection."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self._reader = BufferedReader(_Received(opened))

    def send(self, *pieces: bytes) -> None:
        """Sends each piece in a segment of its own, as far as the system lets it."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self.socket.sendall(piece)

    def end_sending(self) -> None:
        """Says that nothing more comes; the answer can still be read."""
        self.socket.shutdown(socket.SHUT_WR)

    def read(self, *, method: str = "POST") -> Answer:
        """The next answer; `method` tells whether it has a body."""
        response = HTTPResponse(cast("socket.socket", _Kept(self._reader)), method=method)
        try:
            response.begin()
            return Answer(status=response.status, headers=response.headers, body=response.read())
        finally:
            response.close()

    def read_exactly(self, size: int) -> bytes:
        """So many bytes of what comes, or fewer where it ends before."""
        return self._reader.read(size)

    def is_closed(self) -> bool:
        """Whether the service closes the connection without another byte; waits until it says either."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True


def request(
    target: str, body: bytes = b"", *headers: str, method: str = "POST", version: str = "1.1", length: int | None = -1
) -> bytes:
    """A request's bytes. `length` is the `Content-Length`: by default the body's own, none where it is None."""
    lines = [f"{method} {target} HTTP/{version}", "Host: recipes.test", *headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunked transfer coding (RFC 9112 §7.1), a chunk a piece."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + end
