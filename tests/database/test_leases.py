"""Leases: one holder at a time, renewed while it lives, and free when it is gone."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database import leases
from recipe_api.database.leases import LEASE_SECONDS, Lease
from recipe_api.database.session import open_engine
from recipe_api.errors import DatabaseUnavailable
from recipe_api.settings import Settings
from tests.support.service import HOST, closed_port

NAME = "a test's"


@pytest.fixture(autouse=True)
async def _no_leases(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM lease"))


async def lapse(engine: AsyncEngine) -> None:
    """Let the lease expire."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE lease SET held_until = now() - interval '1 second'"))


async def seconds_left(engine: AsyncEngine) -> float:
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT extract(epoch FROM held_until - now())::float FROM lease"))
        return float(found.scalar_one())


async def test_a_lease_has_one_holder_and_is_free_afterwards(engine: AsyncEngine) -> None:
    first, second = Lease(engine, NAME), Lease(engine, NAME)

    async with first.hold() as held:
        assert held
        assert LEASE_SECONDS - 10 < await seconds_left(engine) <= LEASE_SECONDS
        async with second.hold() as held_too:
            assert not held_too
        assert await first.renew(), "an attempt that failed must not release the lease"
        assert not await second.renew()
    async with second.hold() as held:
        assert held


async def test_leases_with_different_names_are_independent(engine: AsyncEngine) -> None:
    async with Lease(engine, NAME).hold() as held, Lease(engine, "another").hold() as held_too:
        assert held
        assert held_too


async def test_an_expired_lease_can_be_renewed_until_another_holder_takes_it(engine: AsyncEngine) -> None:
    first, second = Lease(engine, NAME), Lease(engine, NAME)

    async with first.hold():
        await lapse(engine)
        assert await first.renew(), "an expired lease that nobody has taken should be renewed"
        await lapse(engine)
        async with second.hold() as held:
            assert held
            assert not await first.renew()


async def test_a_holder_renews_its_lease_in_the_background(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.6)

    async with Lease(engine, NAME).hold():
        await lapse(engine)
        async with asyncio.timeout(60):
            while await seconds_left(engine) < 0:
                pass  # each query waits for the database


async def test_an_unavailable_database_raises_an_error(make_settings: Callable[..., Settings]) -> None:
    uri = f"postgres://nobody@{HOST}:{closed_port()}/recipes"
    async with open_engine(make_settings(DATABASE_URL=uri)) as engine:
        with pytest.raises(DatabaseUnavailable):
            async with Lease(engine, NAME).hold():
                pytest.fail("the lease was granted")
