"""The connections that only uploaded rows use."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from recipe_api.database import row_pool
from recipe_api.database.row_pool import Connection, ReservedPool
from recipe_api.database.session import connector
from recipe_api.settings import Settings
from tests.support.pools import until

LONG = 60
SHORT = 0.01


@pytest.fixture
async def pool(make_settings: Callable[..., Settings]) -> AsyncIterator[ReservedPool]:
    opened = ReservedPool(connector(make_settings()).connect, limit=2)
    yield opened
    opened.terminate()


@asynccontextmanager
async def used(pool: ReservedPool, *, is_usable: bool = True) -> AsyncIterator[Connection]:
    connection = await pool.acquire(timeout=LONG)
    try:
        yield connection
    finally:
        pool.release(connection, is_usable=is_usable)


async def is_alive(connection: Connection) -> bool:
    return bool(await connection.fetch("SELECT 1", timeout=LONG))


async def test_the_connection_used_last_is_used_next(pool: ReservedPool) -> None:
    async with used(pool) as first, used(pool) as second:
        assert first is not second
        assert pool.size == 2

    async with used(pool) as next_one:
        assert next_one is first
        assert await is_alive(next_one)


async def test_at_the_limit_the_next_one_waits_for_a_connection(pool: ReservedPool) -> None:
    async with used(pool):
        async with used(pool) as second:
            waiting = asyncio.create_task(pool.acquire(timeout=LONG))
            await asyncio.sleep(0)
            assert not waiting.done()

        assert await waiting is second
        pool.release(second, is_usable=True)


async def test_waiting_at_the_limit_ends_in_time_and_takes_no_slot(pool: ReservedPool) -> None:
    async with used(pool), used(pool):
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=SHORT)

    async with used(pool) as first, used(pool) as second:
        assert first is not second


async def test_a_connection_that_cannot_be_opened_leaves_its_slot_free(make_settings: Callable[..., Settings]) -> None:
    connect = connector(make_settings()).connect
    failures = [OSError("refused"), OSError("refused")]

    async def failing() -> Connection:
        if failures:
            raise failures.pop()
        connection: Connection = await connect()
        return connection

    pool = ReservedPool(failing, limit=1)
    for _ in range(2):
        with pytest.raises(OSError, match="refused"):
            await pool.acquire(timeout=LONG)
    async with used(pool) as connection:
        assert await is_alive(connection)
    pool.terminate()


async def test_a_connection_that_is_not_usable_is_replaced(pool: ReservedPool) -> None:
    async with used(pool, is_usable=False) as broken:
        pass

    assert broken.is_closed()
    assert pool.size == 0
    async with used(pool) as other:
        assert await is_alive(other)


async def test_a_connection_that_the_server_has_closed_is_replaced(pool: ReservedPool) -> None:
    async with used(pool) as lost:
        with pytest.raises(asyncpg.PostgresError):
            await lost.fetch("SELECT pg_terminate_backend(pg_backend_pid())", timeout=LONG)

    assert lost.is_closed()
    assert pool.size == 0
    async with used(pool) as other:
        assert await is_alive(other)


async def test_idle_connections_are_discarded_and_the_others_are_not(pool: ReservedPool) -> None:
    async with used(pool) as kept:
        async with used(pool) as idle:
            pass
        pool.discard_idle()

        assert idle.is_closed()
        assert await is_alive(kept)


async def test_a_connection_is_closed_when_it_has_been_idle_for_long(
    pool: ReservedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_pool, "IDLE_SECONDS", 0)
    async with used(pool) as connection:
        pass

    await until(connection.is_closed)


async def test_ending_closes_connections_in_use_as_well(pool: ReservedPool) -> None:
    async with used(pool) as in_use:
        async with used(pool) as idle:
            pass
        pool.terminate()

        assert in_use.is_closed()
        assert idle.is_closed()
