"""The estimate of when a client may have sent its last byte."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.requests import Request

from recipe_api.units import KIB, MIB
from recipe_api.uploads.clock import AWAITED_SECONDS, RESPONSE_SECONDS, SOCKET_BYTES, UploadClock
from recipe_api.web.body import Arrival, BodyTimeouts, read_body
from tests.support.virtual_time import run_in_virtual_time

CHUNK = 256 * KIB
READ_AHEAD = 5 * MIB
UNREAD = SOCKET_BYTES + READ_AHEAD
SMALL = 2 * CHUNK + 1
LARGE = 2 * UNREAD
TIMEOUTS = BodyTimeouts(idle_seconds=20, min_bytes_per_second=512, rate_seconds=60)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds in the event loop's time, which starts at 0."""

    sent: float
    read: float


async def upload(
    size: int, *, declared: bool = True, before: float = 0, client_pause: float = 0, reader_pause: float = 0
) -> Times:
    """Read a body of this size in chunks, with pauses in seconds: before the first, and before and after each."""
    left = size

    async def receive() -> dict[str, Any]:
        nonlocal left
        await asyncio.sleep(client_pause)
        chunk = bytes(min(left, CHUNK))
        left -= len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": left > 0}

    clock = UploadClock(size=size if declared else None, read_ahead=READ_AHEAD)
    chunks = read_body(Request({"type": "http"}, receive), limit=size, arrival=Arrival(TIMEOUTS), clock=clock)
    await asyncio.sleep(before)
    async for _ in chunks:
        await asyncio.sleep(reader_pause)
    return Times(sent=clock.stop() - RESPONSE_SECONDS, read=asyncio.get_running_loop().time())


def test_a_body_that_fits_into_a_socket_may_have_been_sent_at_the_start() -> None:
    assert run_in_virtual_time(upload(SMALL, before=60, reader_pause=1)) == Times(sent=0, read=63)


def test_a_body_of_undeclared_length_is_sent_once_it_has_been_read() -> None:
    assert run_in_virtual_time(upload(SMALL, before=60, declared=False)) == Times(sent=60, read=60)


def test_a_body_larger_than_a_socket_buffer_has_not_been_sent_at_the_start() -> None:
    assert run_in_virtual_time(upload(SOCKET_BYTES + 1, before=60)).sent == 60


def test_a_large_body_may_have_been_sent_once_the_rest_fits_into_the_buffers() -> None:
    times = run_in_virtual_time(upload(LARGE, reader_pause=1))
    assert times.read - times.sent == pytest.approx(UNREAD / CHUNK, abs=1)


def test_a_client_that_pauses_has_not_sent_its_last_byte() -> None:
    times = run_in_virtual_time(upload(LARGE, client_pause=2 * AWAITED_SECONDS, reader_pause=1))
    assert times.read - times.sent == pytest.approx(1)


def test_many_short_waits_for_a_client_count_too() -> None:
    pause = AWAITED_SECONDS / 2
    times = run_in_virtual_time(upload(SMALL, client_pause=pause))
    assert times.read == pytest.approx(3 * pause)
    assert times.sent == pytest.approx(times.read)


def test_there_is_no_deadline_while_a_client_must_still_be_sending() -> None:
    async def deadlines() -> list[float | None]:
        return [UploadClock(size=size, read_ahead=READ_AHEAD).deadline for size in (None, SOCKET_BYTES + 1, SMALL)]

    assert run_in_virtual_time(deadlines()) == [None, None, RESPONSE_SECONDS]
