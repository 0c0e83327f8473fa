"""How slow a client may be: silence and trickling end in 408 and leave nothing; waiting for us does not count."""

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
from recipe_api.settings import MIB, PART_SIZE
from recipe_api.web.body import Patience, read_body
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.traces import Backstage, eventually
from tests.support.virtual_time import run_in_virtual_time
from tests.support.wire import request

PATIENCE = Patience(idle_seconds=20, min_bytes_per_second=512, rate_seconds=60)


@dataclass(frozen=True, slots=True)
class Step:
    """What a client does next: it lets so many seconds go by, and sends so many bytes."""

    seconds: float
    size: int


async def read(steps: Iterable[Step], *, pause: float = 0, patience: Patience = PATIENCE) -> int:
    """Bytes that a body of these steps comes to; its reader takes `pause` seconds over each chunk."""
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
    chunks: AsyncIterator[bytes] = read_body(Request({"type": "http"}, receive), limit=10**12, patience=patience)
    async for chunk in chunks:
        received += len(chunk)
        await asyncio.sleep(pause)
    return received


def test_a_client_may_be_silent_for_a_while() -> None:
    assert run_in_virtual_time(read([Step(19.9, 50_000), Step(19.9, 50_000)])) == 100_000


def test_a_client_that_falls_silent_is_told_so() -> None:
    with pytest.raises(BodyStalled, match="Nothing arrived for 20 seconds"):
        run_in_virtual_time(read([Step(0, 50_000), Step(20.1, 1)]))


def test_whoever_cancels_the_reading_has_cancelled_it_though_a_client_was_silent() -> None:
    async def cancelled() -> None:
        async with asyncio.timeout(5):
            await read([Step(0, 1), Step(1000, 1)])

    with pytest.raises(TimeoutError) as raised:
        run_in_virtual_time(cancelled())
    assert not isinstance(raised.value, BodyStalled)


def test_a_body_that_was_read_is_watched_no_more() -> None:
    async def read_and_wait() -> int:
        received = await read([Step(19, 50_000)])
        await asyncio.sleep(1000)
        return received

    assert run_in_virtual_time(read_and_wait()) == 50_000


def test_a_client_that_trickles_is_told_so() -> None:
    with pytest.raises(BodyStalled, match="less than 512 bytes a second"):
        run_in_virtual_time(read([Step(1, 500)] * 61))


def test_a_client_that_is_just_quick_enough_may_take_all_its_time() -> None:
    assert run_in_virtual_time(read([Step(1, 512)] * 7200)) == 7200 * 512


def test_a_tunnel_is_forgiven_when_the_rest_was_quick() -> None:
    tunnel = [Step(0.1, 8000)] * 10 + [Step(19.5, 10)] * 3

    assert run_in_virtual_time(read(tunnel * 5))


def test_haste_at_the_beginning_buys_no_sloth_for_ever() -> None:
    with pytest.raises(BodyStalled):
        run_in_virtual_time(read([Step(1, 50_000_000)] + [Step(10, 10)] * 20))


@given(pause=st.floats(0, 3600), size=st.integers(1, 10_000))
def test_time_in_which_the_client_waits_for_us_does_not_count(pause: float, size: int) -> None:
    assert run_in_virtual_time(read([Step(0.001, size)] * 200, pause=pause)) == 200 * size


def test_without_a_minimum_a_client_may_trickle() -> None:
    patient = Patience(idle_seconds=20, min_bytes_per_second=0, rate_seconds=60)

    assert run_in_virtual_time(read([Step(19, 1)] * 1000, patience=patient)) == 1000


def test_no_client_may_take_for_ever_however_it_paces() -> None:
    patient = Patience(idle_seconds=20, min_bytes_per_second=0, rate_seconds=60, longest_seconds=3600)

    with pytest.raises(BodyStalled, match="more than 3600 seconds"):
        run_in_virtual_time(read([Step(19, 1)] * 200, patience=patient))


def key_rows(backstage: Backstage) -> int:
    return len(backstage.sql("SELECT FROM idempotency_key"))


def test_an_upload_that_stalls_frees_all_that_it_held(
    start_service: Callable[..., Service], backstage: Backstage
) -> None:
    # Room for two parts: a lease that came not back would block the next.
    service = start_service(BODY_IDLE_SECONDS="0.5", UPLOAD_BUFFER_BYTES=str(10 * MIB))
    body = recipe_form(jpeg(3 * PART_SIZE))
    for number in range(3):
        with service.connect() as wire:
            wire.send(
                request("/recipe", body[: PART_SIZE + MIB], HEADER, f"Idempotency-Key: {number}", length=len(body))
            )
            assert_problem(wire.read(), 408, "body-stalled")
        assert backstage.nothing_is_left()
        assert eventually(lambda: key_rows(backstage) == 0)

    with service.connect() as wire:
        wire.send(request("/recipe", body, HEADER))
        assert wire.read().status == 201


def test_an_upload_that_trickles_is_ended(
    start_service: Callable[..., Service], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipe_api.app.RATE_SECONDS", 0.3)
    service = start_service(BODY_MIN_BYTES_PER_SECOND="1000000")
    body = recipe_form(jpeg(100_000))
    with service.connect() as wire:
        wire.send(request("/recipe", body[:1000], HEADER, length=len(body)))
        at = 1000
        while not select.select([wire.socket], [], [], 0.01)[0]:
            wire.send(body[at : at + 1])
            at += 1
        answer = wire.read()

    assert "less than 1000000 bytes a second" in assert_problem(answer, 408, "body-stalled")["detail"]
    assert backstage.nothing_is_left()
