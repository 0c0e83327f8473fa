"""Since when a client may have sent the last byte of its form, though much of it still waits to be read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from recipe_api.multipart import WireForm
from recipe_api.multipart.form import AWAITED_SECONDS, SOCKET_BYTES
from recipe_api.settings import KIB
from tests.multipart.bodies import BOUNDARY, RULES, body, file, text
from tests.support.virtual_time import run_in_virtual_time

CHUNK = 512 * KIB
SMALL = body(text(b"Pancakes"), file(b"\xff\xd8\xff"))
LARGE = body(text(b"Pancakes"), file(b"\xff\xd8\xff"), epilogue=b"\r\n" + bytes(2 * SOCKET_BYTES))


def form(sent: bytes, *, pauses: float, announced: bool = True) -> WireForm:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), CHUNK):
            await asyncio.sleep(pauses)
            yield sent[start : start + CHUNK]

    return WireForm(chunks(), boundary=BOUNDARY, rules=RULES, announced=len(sent) if announced else None)


async def read(sent: bytes, *, pauses: float, announced: bool = True, waiting: float = 0) -> tuple[float, float]:
    """When it may have been sent, and when it was read."""
    clock = asyncio.get_running_loop().time
    opened = form(sent, pauses=pauses, announced=announced)
    await asyncio.sleep(waiting)
    await opened.file("photo")
    sent_at = await opened.finish()
    return sent_at, clock()


def test_a_body_that_fits_into_a_socket_may_be_there_from_the_start() -> None:
    assert run_in_virtual_time(read(SMALL, pauses=0, waiting=60)) == (0, 60)


def test_a_body_whose_length_is_not_known_is_sent_when_it_is_read() -> None:
    assert run_in_virtual_time(read(SMALL, pauses=0, announced=False, waiting=60)) == (60, 60)


def test_a_client_that_is_waited_for_has_not_sent_its_last_byte() -> None:
    pauses = 2 * AWAITED_SECONDS
    sent_at, read_at = run_in_virtual_time(read(LARGE, pauses=pauses))
    assert sent_at == pytest.approx(read_at)
    assert read_at == pytest.approx(pauses * -(-len(LARGE) // CHUNK))


def test_a_client_that_is_not_may_have_once_no_more_is_left_than_a_socket_holds() -> None:
    pauses = AWAITED_SECONDS / 2
    sent_at, read_at = run_in_virtual_time(read(LARGE, pauses=pauses))
    assert read_at - sent_at == pytest.approx(pauses * (SOCKET_BYTES // CHUNK))
