"""Fixtures for a repository and a recipe writer on the test database."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.recipe_writer import RecipeWriter, open_recipe_writer
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
async def recipe_writer(make_settings: Callable[..., Settings], engine: AsyncEngine) -> AsyncIterator[RecipeWriter]:
    async with open_recipe_writer(make_settings(), engine) as opened:
        yield opened
