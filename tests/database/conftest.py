"""A repository, and the records of uploads, on the stack's database."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.records import Records, open_records
from recipe_api.database.repository import Recipes
from recipe_api.database.session import open_engine
from recipe_api.settings import Settings
from tests.support.rows import emptied


@pytest.fixture(scope="session")
async def engine(make_settings: Callable[..., Settings]) -> AsyncIterator[AsyncEngine]:
    async with open_engine(make_settings()) as opened:
        yield opened


@pytest.fixture
async def recipes(engine: AsyncEngine) -> Recipes:
    await emptied(engine)
    return Recipes(engine)


@pytest.fixture(scope="session")
async def records(make_settings: Callable[..., Settings]) -> AsyncIterator[Records]:
    async with open_records(make_settings()) as opened:
        yield opened
