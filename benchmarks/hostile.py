"""Five attacks by one client on one process with its default settings, and how well the service works for others
meanwhile.

    python benchmarks/hostile.py heads          600 endless request heads, each with as many headers as are accepted
    python benchmarks/hostile.py slots          400 uploads that send a byte every 15 s
    python benchmarks/hostile.py room           100 uploads that announce 512 KiB and send a byte every 15 s
    python benchmarks/hostile.py connections    1,100 silent connections, and 60 that never read a response
    python benchmarks/hostile.py cpu            requests that cost as much CPU as possible, 8 at a time
    python benchmarks/hostile.py all

Meanwhile another address, 127.0.0.2, uploads 50 kB five times a second. Prints how many of these uploads got 201 in
2 s, the peak of the server's memory, and the responses to the attacker. Starts PostgreSQL, SeaweedFS and the service on
loopback; needs Linux, where 127.0.0.0/8 is the machine itself. Each attack takes a minute.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from footprint import settled, watched
from jpeg import START
from soak import serving

SECONDS = 20
"""How long an attack lasts while uploads are counted."""
PAUSE_SECONDS = 0.2
ENOUGH_SECONDS = 2
ENOUGH_SHARE = 0.95
ENOUGH_BYTES = 250 * 1024 * 1024
OTHER_ADDRESS = "127.0.0.2"

_HEAD = b"POST /recipe HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
_LABEL = b'--b\r\nContent-Disposition: form-data; name="label"\r\n\r\nx\r\n'
_PHOTO = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="x.jpg"\r\n\r\n' + START
_UPLOAD = _LABEL + _PHOTO + bytes(50_000) + b"\r\n--b--\r\n"


def main() -> int:
    """Run the attacks; the exit code is 1 if one of them blocks others or uses too much memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=(*ATTACKS, "all"))
    chosen = parser.parse_args().attack
    results = [_run(name) for name in (ATTACKS if chosen == "all" else [chosen])]
    return 0 if all(results) else 1


def _run(name: str) -> bool:
    with (
        tempfile.TemporaryDirectory(prefix="hostile-") as folder,
        serving(Path(folder), command=str(Path(sys.executable).parent / "recipe-api"), environment={}) as (url, pid),
    ):
        settled(pid)
        port = int(url.rpartition(":")[2])
        with watched(pid) as footprint:
            outcome = asyncio.run(_attacked(ATTACKS[name], port))
    within = sum(status == 201 and seconds <= ENOUGH_SECONDS for status, seconds in outcome.uploads)
    share, peak = within / len(outcome.uploads), sum(footprint.at_peak.values())
    print(f"{name}: {share:.1%} of {len(outcome.uploads)} uploads from another address within {ENOUGH_SECONDS} s")
    print(f"  peak {peak / 1024**2:.0f} MB; slowest {max(seconds for _, seconds in outcome.uploads):.2f} s")
    print(f"  the attacker was told: {dict(outcome.told) or 'nothing'}; slowest {outcome.slowest:.2f} s")
    return share >= ENOUGH_SHARE and peak < ENOUGH_BYTES


@dataclass(slots=True)
class Outcome:
    """The result of an attack."""

    uploads: list[tuple[int, float]] = field(default_factory=list)
    """The status of each upload from the other address (0 without a response), and its seconds."""
    told: Counter[str] = field(default_factory=Counter)
    """Statuses that the attacker received."""
    slowest: float = 0.0


Attack = Callable[[int, Outcome], Coroutine[Any, Any, None]]


async def _attacked(attack: Attack, port: int) -> Outcome:
    outcome = Outcome()
    attacker = asyncio.create_task(attack(port, outcome))
    ends = time.monotonic() + SECONDS
    uploads = []
    while time.monotonic() < ends:
        uploads.append(asyncio.create_task(_upload(port)))
        await asyncio.sleep(PAUSE_SECONDS)
    outcome.uploads = await asyncio.gather(*uploads)
    ended = replace(outcome, told=Counter(outcome.told))  # later responses only show that the attack has ended
    attacker.cancel()
    await asyncio.gather(attacker, return_exceptions=True)
    return ended


async def _upload(port: int) -> tuple[int, float]:
    began, status = time.monotonic(), 0
    try:
        async with asyncio.timeout(10), _connected(port, address=OTHER_ADDRESS) as (reader, writer):
            writer.write(_HEAD + b"Content-Length: %d\r\n\r\n" % len(_UPLOAD) + _UPLOAD)
            status = await _status(reader)
    except (OSError, TimeoutError):
        pass
    return status, time.monotonic() - began


@asynccontextmanager
async def _connected(
    port: int, *, address: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int:
    words = (await reader.readline()).split(b" ")
    return int(words[1]) if len(words) > 1 else 0


async def _tell(outcome: Outcome, reader: asyncio.StreamReader) -> None:
    """Record the response to the last request, and its `Retry-After`."""
    began = time.monotonic()
    status = await _status(reader)
    outcome.slowest = max(outcome.slowest, time.monotonic() - began)
    waits = False
    while (line := await reader.readline()) not in {b"", b"\r\n"}:
        waits = waits or line.lower().startswith(b"retry-after:")
    outcome.told[f"{status or 'closed'}{' with Retry-After' if waits else ''}"] += 1


async def _heads(port: int, outcome: Outcome) -> None:
    async def one() -> None:
        with _ignored():
            async with _connected(port) as (reader, writer):
                writer.write(b"POST /recipe HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 15_500)
                await _tell(outcome, reader)

    async def unfinished() -> None:
        with _ignored():
            async with _connected(port) as (reader, writer):
                writer.write(b"POST /recipe HTTP/1.1\r\nHost: x\r\n" + b"".join(b"%d: b\r\n" % n for n in range(98)))
                await _tell(outcome, reader)

    await asyncio.gather(*(one() for _ in range(300)), *(unfinished() for _ in range(300)))


async def _slots(port: int, outcome: Outcome) -> None:
    await _trickle(port, outcome, uploads=400, announced=100_000)


async def _room(port: int, outcome: Outcome) -> None:
    await _trickle(port, outcome, uploads=100, announced=512 * 1024)


async def _trickle(port: int, outcome: Outcome, *, uploads: int, announced: int) -> None:
    async def one() -> None:
        with _ignored():
            async with _connected(port) as (reader, writer):
                writer.write(_HEAD + b"Content-Length: %d\r\n\r\n" % announced + _LABEL + _PHOTO + bytes(300))
                answer = asyncio.create_task(_tell(outcome, reader))
                while not answer.done():
                    await asyncio.wait([answer], timeout=15)
                    writer.write(b"x")

    await asyncio.gather(*(one() for _ in range(uploads)))


async def _connections(port: int, outcome: Outcome) -> None:
    async def silent() -> None:
        with _ignored():
            async with _connected(port) as (reader, _):
                await _tell(outcome, reader)

    async def unread() -> None:
        async with _connected(port) as (reader, writer):
            reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - streams have no public way
            writer.write(b"GET /swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
            await asyncio.sleep(SECONDS)

    await asyncio.gather(*(silent() for _ in range(1100)), *(unread() for _ in range(60)))


async def _cpu(port: int, outcome: Outcome) -> None:
    accept = b"Accept: text/html, " + b'"' + b'\\"' * 7000
    part = b'--b\r\nContent-Disposition: form-data; name="%d"' + b";" * 4000 + b"\r\n\r\n\r\n"
    form = b"".join(part % number for number in range(20)) + b"--b--\r\n"
    requests = [
        b"GET /recipe?" + b"&a" * 30_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /recipe?limit=x&" + b"&a" * 98 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        _HEAD + accept + b"\r\nContent-Length: 0\r\n\r\n",
        _HEAD + b"Content-Length: %d\r\n\r\n" % len(form) + form,
        b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    ]

    async def one(number: int) -> None:
        while True:
            with _ignored():
                async with _connected(port) as (reader, writer):
                    writer.write(requests[number % len(requests)])
                    await _tell(outcome, reader)
            number += 1

    await asyncio.gather(*(one(number) for number in range(8)))


class _ignored:  # noqa: N801 - reads as `contextlib.suppress` does
    """Ignore that the server ends a connection."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        return isinstance(error, OSError)


ATTACKS: dict[str, Attack] = {"heads": _heads, "slots": _slots, "room": _room, "connections": _connections, "cpu": _cpu}


if __name__ == "__main__":
    sys.exit(main())
