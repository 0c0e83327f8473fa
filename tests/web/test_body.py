"""Timeouts of request bodies: idle and slow clients get 408, and time spent waiting for the service does not count."""

import asyncio
import select
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from recipe_api.errors import BodyStalled
from recipe_api.settings import PART_SIZE
from recipe_api.units import MIB
from recipe_api.web.body import Arrival, BodyTimeouts, read_body
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.traces import Backstage, eventually
from tests.support.virtual_time import run_in_virtual_time
from tests.support.wire import request

TIMEOUTS = BodyTimeouts(idle_seconds=20, min_bytes_per_second=512, rate_seconds=60)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a client: it waits for `seconds`, then sends `size` bytes."""

    seconds: float
    size: int


async def read(steps: Iterable[Step], *, pause: float = 0, timeouts: BodyTimeouts = TIMEOUTS) -> int:
    """Read a body of these steps, pausing after each chunk, and return the bytes received."""
    left = list(steps)
    sent_at = 0.0
    for_its_steps = iter(left)

    async def receive() -> dict[str, Any]:
        # A client goes on while its reader is busy: what it has sent by then is there at once.
        nonlocal sent_at
        step = next(for_its_steps, None)
        if step is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        sent_at += step.seconds
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, sent_at - clock()))
        return {"type": "http.request", "body": bytes(step.size), "more_body": True}

    received = 0
    arrival = Arrival(timeouts)
    chunks: AsyncIterator[bytes] = read_body(Request({"type": "http"}, receive), limit=10**12, arrival=arrival)
    async for chunk in chunks:
        received += len(chunk)
        await asyncio.sleep(pause)
    return received


def test_a_client_may_pause() -> None:
    assert run_in_virtual_time(read([Step(19.9, 50_000), Step(19.9, 50_000)])) == 100_000


def test_a_client_that_sends_nothing_times_out() -> None:
    with pytest.raises(BodyStalled, match="Nothing arrived for 20 seconds"):
        run_in_virtual_time(read([Step(0, 50_000), Step(20.1, 1)]))


def test_cancelling_the_reader_is_not_mistaken_for_a_timeout() -> None:
    async def cancelled() -> None:
        async with asyncio.timeout(5):
            await read([Step(0, 1), Step(1000, 1)])

    with pytest.raises(TimeoutError) as raised:
        run_in_virtual_time(cancelled())
    assert not isinstance(raised.value, BodyStalled)


def test_the_timer_ends_with_the_body() -> None:
    async def read_and_wait() -> int:
        received = await read([Step(19, 50_000)])
        await asyncio.sleep(1000)
        return received

    assert run_in_virtual_time(read_and_wait()) == 50_000


def test_a_client_below_the_minimum_rate_times_out() -> None:
    with pytest.raises(BodyStalled, match="less than 512 bytes per second"):
        run_in_virtual_time(read([Step(1, 500)] * 61))


def test_a_client_at_the_minimum_rate_may_take_hours() -> None:
    assert run_in_virtual_time(read([Step(1, 512)] * 7200)) == 7200 * 512


def test_a_slow_stretch_is_accepted_if_the_average_is_fast_enough() -> None:
    tunnel = [Step(0.1, 8000)] * 10 + [Step(19.5, 10)] * 3

    assert run_in_virtual_time(read(tunnel * 5))


def test_a_fast_start_does_not_excuse_a_slow_rest() -> None:
    with pytest.raises(BodyStalled):
        run_in_virtual_time(read([Step(1, 50_000_000)] + [Step(10, 10)] * 20))


@given(pause=st.floats(0, 3600), size=st.integers(1, 10_000))
def test_time_in_which_the_client_waits_for_the_service_does_not_count(pause: float, size: int) -> None:
    assert run_in_virtual_time(read([Step(0.001, size)] * 200, pause=pause)) == 200 * size


def test_a_client_may_trickle_without_a_minimum_rate() -> None:
    timeouts = BodyTimeouts(idle_seconds=20, min_bytes_per_second=0, rate_seconds=60)

    assert run_in_virtual_time(read([Step(19, 1)] * 1000, timeouts=timeouts)) == 1000


def test_the_total_time_is_limited() -> None:
    timeouts = BodyTimeouts(idle_seconds=20, min_bytes_per_second=0, rate_seconds=60, max_seconds=3600)

    with pytest.raises(BodyStalled, match="more than 3600 seconds"):
        run_in_virtual_time(read([Step(19, 1)] * 200, timeouts=timeouts))


def key_rows(backstage: Backstage) -> int:
    return len(backstage.sql("SELECT FROM idempotency_key"))


@pytest.mark.slow
def test_a_stalled_upload_releases_its_resources(start_service: Callable[..., Service], backstage: Backstage) -> None:
    # Room for two parts: a lease that is not released would block the next upload.
    service = start_service(BODY_IDLE_SECONDS="0.5", UPLOAD_BUFFER_BYTES=str(10 * MIB))
    body = recipe_form(jpeg(3 * PART_SIZE))
    for number in range(3):
        with service.connect() as wire:
            wire.send(
                request(
                    "/recipe",
                    body[: PART_SIZE + MIB],
                    HEADER,
                    f"Idempotency-Key: {key_of(str(number))}",
                    length=len(body),
                )
            )
            assert_problem(wire.read(), 408, "body-stalled")
        assert backstage.nothing_is_left()
        assert eventually(lambda: key_rows(backstage) == 0)

    with service.connect() as wire:
        wire.send(request("/recipe", body, HEADER))
        assert wire.read().status == 201


def test_an_upload_below_the_minimum_rate_is_ended(
    start_service: Callable[..., Service], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipe_api.composition.RATE_SECONDS", 0.3)
    service = start_service(BODY_MIN_BYTES_PER_SECOND="1000000")
    body = recipe_form(jpeg(100_000))
    with service.connect() as wire:
        wire.send(request("/recipe", body[:1000], HEADER, length=len(body)))
        at = 1000
        while not select.select([wire.socket], [], [], 0.01)[0]:
            wire.send(body[at : at + 1])
            at += 1
        answer = wire.read()

    assert "less than 1000000 bytes per second" in assert_problem(answer, 408, "body-stalled")["detail"]
    assert backstage.nothing_is_left()
