"""Since when a client may have sent the last byte of its form, though much of it still waits to be read."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from recipe_api.multipart import WireForm
from recipe_api.multipart.form import AWAITED_SECONDS, SOCKET_BYTES, UNREAD_BYTES
from recipe_api.settings import KIB
from tests.multipart.bodies import BOUNDARY, RULES, body, file, text
from tests.support.virtual_time import run_in_virtual_time

CHUNK = 256 * KIB
SMALL = body(text(b"Pancakes"), file(bytes(2 * CHUNK)))
LARGE = body(text(b"Pancakes"), file(bytes(2 * UNREAD_BYTES)))
ANY_SIZE = replace(RULES, max_file_bytes=len(LARGE))


async def read(
    sent: bytes, *, pauses: float = 0, announced: bool = True, opening: float = 0, dawdling: float = 0
) -> tuple[float, float]:
    """When it may have been sent, and when it was read, by one who dawdles before and between the chunks."""

    async def chunks() -> AsyncGenerator[bytes]:
        for start in range(0, len(sent), CHUNK):
            await asyncio.sleep(pauses)
            yield sent[start : start + CHUNK]

    clock = asyncio.get_running_loop().time
    form = WireForm(chunks(), boundary=BOUNDARY, rules=ANY_SIZE, announced=len(sent) if announced else None)
    await asyncio.sleep(opening)
    photo = await form.file("photo")
    async for _ in photo:
        await asyncio.sleep(dawdling)
    return await form.finish(), clock()


def test_a_body_that_fits_into_a_socket_may_be_there_from_the_start() -> None:
    assert run_in_virtual_time(read(SMALL, opening=60, dawdling=1)) == (0, 63)


def test_a_body_whose_length_is_not_known_is_sent_when_it_is_read() -> None:
    assert run_in_virtual_time(read(SMALL, opening=60, announced=False)) == (60, 60)


def test_one_that_does_not_fit_is_not_there_from_the_start() -> None:
    larger = body(text(b"Pancakes"), file(bytes(SOCKET_BYTES)))
    sent_at, _ = run_in_virtual_time(read(larger, opening=60))
    assert sent_at == 60


def test_a_larger_one_may_be_there_once_no_more_is_left_than_a_socket_holds_and_is_read_ahead() -> None:
    sent_at, read_at = run_in_virtual_time(read(LARGE, dawdling=1))
    assert read_at - sent_at == pytest.approx(UNREAD_BYTES / CHUNK, abs=1)


def test_a_client_that_is_waited_for_has_not_sent_its_last_byte() -> None:
    pauses = 2 * AWAITED_SECONDS
    sent_at, read_at = run_in_virtual_time(read(LARGE, pauses=pauses, dawdling=1))
    assert read_at - sent_at == pytest.approx(1)


def test_a_client_that_trickles_has_not_either() -> None:
    pauses = AWAITED_SECONDS / 2
    sent_at, read_at = run_in_virtual_time(read(SMALL, pauses=pauses))
    assert read_at == pytest.approx(pauses * -(-len(SMALL) // CHUNK))
    assert sent_at == read_at
