"""Observation of the engine's pool."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from recipe_api.database.connection import engine_on
from recipe_api.database.observation import timed_pool
from recipe_api.database.session import connector
from recipe_api.settings import Settings


async def test_checkouts_are_timed_including_those_that_fail(
    make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    times: list[float] = []
    engine = engine_on(
        connector(make_settings()), poolclass=timed_pool(times.append), pool_size=1, max_overflow=0, pool_timeout=0
    )
    async with engine.connect():
        assert len(times) == 1
        with pytest.raises(PoolTimeoutError):
            await engine.raw_connection()
        assert len(times) == 2
    async with engine.connect():
        assert len(times) == 3
    await engine.dispose()
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"sqlalchemy"}  # whose level is WARNING
