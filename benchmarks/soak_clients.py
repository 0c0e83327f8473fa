"""The clients of the soak, in a separate process: large, small and very slow uploads at once.

All photos are one shared buffer after distinct heads, so that a hundred photos of 64 MiB use the memory of one
and no two are equal. Writes the results to standard output, as JSON.
"""

import argparse
import asyncio
import json
import secrets
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import uvloop
from jpeg import START

KIB = 1024
MIB = 1024 * KIB
SMALL_BYTES = 50 * KIB
SMALL_CLIENTS = 4
SMALL_PAUSE = 0.1  # seconds
SLOW_BYTES = 50 * KIB
SLOW_RATE = 1500  # bytes a second
SLOW_STEP = 750  # bytes at a time
CHUNK = 256 * KIB
BOUNDARY = b"soak-7MA4YWxkTrZu0gW"
HEAD_BYTES = len(START) + 24


@dataclass(slots=True)
class Outcome:
    """The results of all uploads."""

    large: list[dict[str, str]] = field(default_factory=list)
    """Location, head and entity tag of each."""
    large_seconds: list[float] = field(default_factory=list)
    small_seconds: list[float] = field(default_factory=list)
    slow_done: int = 0
    refused: int = 0
    """Responses with 503 and Retry-After, after which the client retried."""
    failed: list[str] = field(default_factory=list)
    seconds: float = 0


class Crowd:
    """The clients of one service."""

    def __init__(self, url: str, *, shared: bytes) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._shared = memoryview(shared)
        self.outcome = Outcome()
        self._over = asyncio.Event()

    async def run(self, *, large: int, large_bytes: int, slow: int) -> None:
        """Send all large uploads at once, and small and slow ones for as long as those take."""
        began = time.perf_counter()
        others = [asyncio.create_task(self._small_client()) for _ in range(SMALL_CLIENTS)]
        others += [asyncio.create_task(self._slow_client(number / slow)) for number in range(slow)]
        await asyncio.gather(*(self._large(large_bytes) for _ in range(large)))
        self.outcome.seconds = time.perf_counter() - began
        self._over.set()
        await asyncio.gather(*others)

    async def _large(self, size: int) -> None:
        head = _head()
        began = time.perf_counter()
        recipe = await self._uploaded(head, size)
        self.outcome.large_seconds.append(time.perf_counter() - began)
        if recipe:
            self.outcome.large.append({"location": recipe["location"], "head": head.hex(), "etag": recipe["etag"]})

    async def _small_client(self) -> None:
        while not self._over.is_set():
            began = time.perf_counter()
            await self._uploaded(_head(), SMALL_BYTES)
            self.outcome.small_seconds.append(time.perf_counter() - began)
            await asyncio.sleep(SMALL_PAUSE)

    async def _slow_client(self, phase: float) -> None:
        await asyncio.sleep(phase * SLOW_BYTES / SLOW_RATE)  # so that they do not all end at once
        while not self._over.is_set():
            if await self._uploaded(_head(), SLOW_BYTES, rate=SLOW_RATE):
                self.outcome.slow_done += 1

    async def _uploaded(self, head: bytes, size: int, *, rate: int = 0) -> dict[str, str] | None:
        while True:
            status, body = await self._post(head, size, rate=rate)
            if status == HTTPStatus.CREATED:
                recipe: dict[str, str] = json.loads(body)
                return recipe
            if status != HTTPStatus.SERVICE_UNAVAILABLE:
                self.outcome.failed.append(f"{size} bytes: {status} {body[:200]!r}")
                return None
            self.outcome.refused += 1
            await asyncio.sleep(1)

    async def _post(self, head: bytes, size: int, *, rate: int) -> tuple[int, bytes]:
        before, after = _around(size)
        loop = asyncio.get_running_loop()
        with socket.socket() as opened:
            opened.setblocking(False)
            await loop.sock_connect(opened, self._address)
            await loop.sock_sendall(opened, before + head)
            step = SLOW_STEP if rate else CHUNK
            for start in range(HEAD_BYTES, size, step):
                await loop.sock_sendall(opened, self._shared[start : min(start + step, size)])
                if rate:
                    await asyncio.sleep(step / rate)
            await loop.sock_sendall(opened, after)
            return await _answer(opened)


async def _answer(opened: socket.socket) -> tuple[int, bytes]:
    loop = asyncio.get_running_loop()
    data = b""
    while more := await loop.sock_recv(opened, 64 * KIB):
        data += more
    if not data:
        return 0, b"no response"
    top, _, body = data.partition(b"\r\n\r\n")
    return int(top.split()[1]), body


def _around(size: int) -> tuple[bytes, bytes]:
    part = b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    before = part % (BOUNDARY, b"label", b"") + b"Pancakes\r\n"
    before += part % (BOUNDARY, b"photo", b'; filename="pancakes.jpg"')
    after = b"\r\n--%s--\r\n" % BOUNDARY
    request = (
        b"POST /recipe HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n"
    )
    return request % (BOUNDARY, len(before) + size + len(after)) + before, after


def _head() -> bytes:
    return START + secrets.token_bytes(HEAD_BYTES - len(START)).replace(b"\xff", b"\xfe")


async def _run(options: argparse.Namespace) -> Outcome:
    with open(options.shared, "rb") as file:  # noqa: ASYNC230, PTH123 - before anything else runs
        crowd = Crowd(options.url, shared=file.read())
    await crowd.run(large=options.large, large_bytes=options.large_bytes, slow=options.slow)
    return crowd.outcome


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--shared", required=True, help="a file of bytes that all photos are made of")
    parser.add_argument("--large", type=int, required=True)
    parser.add_argument("--large-bytes", type=int, required=True)
    parser.add_argument("--slow", type=int, required=True)
    json.dump(asdict(uvloop.run(_run(parser.parse_args()))), sys.stdout)
