"""Fixtures for a repository and a recipe writer on the test database, and for databases with other schemas."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.recipe_writer import RecipeWriter, open_recipe_writer
from recipe_api.database.repository import Recipes
from recipe_api.database.session import open_engine
from recipe_api.dev.migrations import alembic_config
from recipe_api.settings import Settings
from tests.support.rows import emptied
from tests.support.traces import Backstage

NAME = "schema_check"
NEVER = "base"
ROLE = "restricted_role"
OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


def documented_grants() -> list[str]:
    """Return the statements with which an operator grants the service's privileges, for our role."""
    block = OPERATIONS.read_text().partition("### Privileges")[2].partition("```sql\n")[2].partition("```")[0]
    return block.replace("the_service", ROLE).strip().removesuffix(";").split(";\n")


async def execute(settings: Settings, *statements: str) -> None:
    async with open_engine(settings) as engine, engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


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


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, make_settings: Callable[..., Settings], backstage: Backstage
) -> Iterator[Settings]:
    """Settings with a separate database, migrated to the revision that the test names."""
    address = backstage.create_database(NAME)
    if request.param != NEVER:
        command.upgrade(alembic_config(address), request.param)
    yield make_settings(DATABASE_URL=address)
    backstage.drop_database(NAME)


@pytest.fixture
async def restricted(settings: Settings, make_settings: Callable[..., Settings]) -> AsyncIterator[Settings]:
    """The same database for a user with the privileges that docs/operations.md names, until the test revokes some."""
    await execute(
        settings,
        f"CREATE ROLE {ROLE} LOGIN PASSWORD 'restricted'",
        *documented_grants(),
    )
    parts = urlsplit(settings.database_url.get_secret_value())
    place = parts.netloc.rpartition("@")[2]
    yield make_settings(DATABASE_URL=parts._replace(netloc=f"{ROLE}:restricted@{place}").geturl())
    await execute(settings, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")
