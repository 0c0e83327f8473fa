"""A client for large photos with hardly any cost: `sendfile` from memory over a raw socket.

It records when the last byte went to the kernel and when the whole response had arrived. The kernel buffers bytes that
the server has not read; `SEND_BUFFER` keeps the client's share of them small.
"""

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from jpeg import END, noise, photo

from compare.photos import CONTENT_TYPE, FORM_HEAD, FORM_TAIL, MIB
from compare.processes import BenchmarkError

SEND_BUFFER = MIB // 4
STALL_SECONDS = 120
"""How long one send or one receive may take."""
_CHUNK = 16 * MIB


@dataclass(frozen=True, slots=True)
class LargePhoto:
    """Bytes of a photo in memory, which are repeated if more are needed."""

    descriptor: int
    length: int

    @property
    def path(self) -> str:
        """The path at which other processes of this user can read them."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"


@contextmanager
def large_photo(length: int) -> Iterator[LargePhoto]:
    """Keep the bytes of a photo in memory for as long as the block lasts."""
    descriptor = os.memfd_create("photo")
    try:
        os.write(descriptor, photo(MIB).removesuffix(END) + bytes(len(END)))
        piece = noise(MIB)
        for _ in range(length // MIB - 1):
            os.write(descriptor, piece)
        yield LargePhoto(descriptor, length)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The result of one upload."""

    status: int
    seconds: float
    """From the first byte to the whole response."""
    last_byte: float
    """From the last byte to the whole response."""
    retry_after: float
    content: bytes


def send(port: int, source: LargePhoto, *, size: int, method: str = "POST", path: str = "/recipe") -> Sent:
    """Send a photo of `size` bytes: in a form by POST, or as the body of a PUT.

    Raises:
        BenchmarkError: There was no response.
    """
    before, after = (FORM_HEAD, FORM_TAIL) if method == "POST" else (b"", b"")
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(before) + size + len(after)}\r\n\r\n"
    ).encode("ascii")
    with _connected(port) as connection:
        began = time.perf_counter()
        try:
            connection.sendall(head + before)
            _send_photo(connection, source, size)
            connection.sendall(after)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server responded before the end; the response counts
        last = time.perf_counter()
        try:
            response = HTTPResponse(connection)
            response.begin()
            content = response.read()
        except (OSError, HTTPException) as error:
            raise BenchmarkError(f"no response after {time.perf_counter() - began:.1f} s: {error!r}") from error
        done = time.perf_counter()
    return Sent(
        status=response.status,
        seconds=done - began,
        last_byte=done - last,
        retry_after=float(response.headers.get("Retry-After") or 0),
        content=content,
    )


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        for option in (
            socket.SO_SNDTIMEO,
            socket.SO_RCVTIMEO,
        ):  # a timeout of the kernel, because sendfile needs a blocking socket
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", STALL_SECONDS, 0))
        connection.connect(("127.0.0.1", port))
        yield connection


def _send_photo(connection: socket.socket, source: LargePhoto, size: int) -> None:
    sent = 0
    while sent < size:
        offset = sent % source.length
        count = min(_CHUNK, size - sent, source.length - offset)
        sent += os.sendfile(connection.fileno(), source.descriptor, offset, count)
