"""Claims on photos to render: one holder at a time, counted attempts, and what is recorded in the end."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database.models import RecipeRow
from recipe_api.database.recipe_writer import RecipeWriter
from recipe_api.database.renderings import CLAIM_SECONDS, MAX_ATTEMPTS, Claim, Renderings
from recipe_api.database.repository import Recipes
from recipe_api.database.session import open_engine
from recipe_api.errors import DatabaseUnavailable
from recipe_api.settings import Settings
from tests.support.rows import emptied, row
from tests.support.service import HOST, closed_port

HOLDER, OTHER = uuid4(), uuid4()
PLACEHOLDER = "3OcRJYB4d3h/iIeHeEh3eIhw+j3A"


@pytest.fixture
async def renderings(engine: AsyncEngine) -> Renderings:
    return Renderings(engine)


@pytest.fixture
async def recipe(engine: AsyncEngine, recipe_writer: RecipeWriter) -> RecipeRow:
    await emptied(engine)
    added = row()
    await recipe_writer.add(added)
    return added


_WAITS_FOR = text("SELECT true FROM pg_locks WHERE :pid = ANY(pg_blocking_pids(pid))")


async def lapse(engine: AsyncEngine) -> None:
    """Let all claims expire."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE rendering SET claimed_until = now() - interval '1 second'"))


async def state(engine: AsyncEngine) -> list[tuple[int, float]]:
    """Return the attempts at each photo, and how many seconds its claim has left."""
    query = "SELECT attempts, extract(epoch FROM claimed_until - now())::float FROM rendering"
    async with engine.connect() as connection:
        return [(attempts, left) for attempts, left in await connection.execute(text(query))]


async def test_a_photo_is_claimed_once_at_a_time(
    renderings: Renderings, recipe: RecipeRow, engine: AsyncEngine
) -> None:
    assert await renderings.claim(recipe.id, HOLDER) is Claim.HELD
    assert await renderings.claim(recipe.id, HOLDER) is Claim.BUSY

    ((attempts, left),) = await state(engine)
    assert attempts == 1
    assert CLAIM_SECONDS - 10 < left <= CLAIM_SECONDS


async def test_a_claim_that_expires_counts_as_an_attempt(
    renderings: Renderings, recipe: RecipeRow, engine: AsyncEngine
) -> None:
    for _ in range(MAX_ATTEMPTS):
        assert await renderings.claim(recipe.id, HOLDER) is Claim.HELD
        await lapse(engine)

    assert await renderings.claim(recipe.id, HOLDER) is Claim.GIVEN_UP


async def test_only_attempts_that_count_are_counted(renderings: Renderings, recipe: RecipeRow) -> None:
    for counts in (False, True, False, True, False, True):
        assert await renderings.claim(recipe.id, HOLDER) is Claim.HELD
        await renderings.end(recipe.id, HOLDER, counts=counts)

    assert await renderings.claim(recipe.id, HOLDER) is Claim.GIVEN_UP


async def test_an_attempt_ends_once(renderings: Renderings, recipe: RecipeRow, engine: AsyncEngine) -> None:
    await renderings.claim(recipe.id, HOLDER)
    for _ in range(2):  # as after a response that was lost
        await renderings.end(recipe.id, HOLDER, counts=False)

    assert [attempts for attempts, _ in await state(engine)] == [0]


async def test_an_attempt_without_a_claim_changes_no_other_one(
    renderings: Renderings, recipe: RecipeRow, engine: AsyncEngine
) -> None:
    await renderings.claim(recipe.id, HOLDER)
    await lapse(engine)
    assert await renderings.claim(recipe.id, OTHER) is Claim.HELD

    await renderings.end(recipe.id, HOLDER, counts=False)
    await renderings.give_up(recipe.id, HOLDER)

    ((attempts, left),) = await state(engine)
    assert attempts == 2
    assert left > 0


async def test_a_photo_that_was_given_up_can_be_retried(
    renderings: Renderings, recipe: RecipeRow, engine: AsyncEngine
) -> None:
    await renderings.claim(recipe.id, HOLDER)
    assert not await renderings.has_given_up(recipe.id)
    await renderings.give_up(recipe.id, HOLDER)
    assert await renderings.has_given_up(recipe.id)
    assert await renderings.claim(recipe.id, HOLDER) is Claim.GIVEN_UP

    await renderings.allow_retry(recipe.id)

    assert not await renderings.has_given_up(recipe.id)
    assert await renderings.claim(recipe.id, HOLDER) is Claim.HELD
    assert [attempts for attempts, _ in await state(engine)] == [1]


async def test_a_photo_without_a_row_is_given_up(renderings: Renderings) -> None:
    assert await renderings.claim(uuid4(), HOLDER) is Claim.GIVEN_UP


async def test_a_photo_whose_row_is_being_deleted_is_given_up(
    renderings: Renderings, recipe: RecipeRow, engine: AsyncEngine
) -> None:
    async with engine.connect() as deleting, engine.connect() as observing:
        pid = await deleting.scalar(text("SELECT pg_backend_pid()"))
        await deleting.execute(text("DELETE FROM recipe WHERE id = :id"), {"id": recipe.id})
        claim = asyncio.create_task(renderings.claim(recipe.id, HOLDER))
        while not await observing.scalar(_WAITS_FOR, {"pid": pid}):
            await observing.rollback()
        await deleting.commit()

    assert await claim is Claim.GIVEN_UP


async def test_a_success_is_recorded_in_the_recipe(
    renderings: Renderings, recipes: Recipes, recipe: RecipeRow, engine: AsyncEngine
) -> None:
    await renderings.claim(recipe.id, HOLDER)

    assert await renderings.record(recipe.id, sizes=[960, 320], placeholder=PLACEHOLDER, width=1200, height=900)

    found = await recipes.get(recipe.id)
    assert (found.rendition_sizes, found.placeholder) == ([320, 960], PLACEHOLDER)
    assert (found.width, found.height) == (1200, 900)
    assert await state(engine) == []


async def test_a_later_success_adds_its_sizes_and_keeps_known_dimensions(
    renderings: Renderings, recipes: Recipes, recipe: RecipeRow
) -> None:
    for sizes, width in (([320, 960], 1200), ([640, 960], 1199)):
        await renderings.claim(recipe.id, HOLDER)
        await renderings.record(recipe.id, sizes=sizes, placeholder=PLACEHOLDER, width=width, height=900)

    found = await recipes.get(recipe.id)
    assert (found.rendition_sizes, found.width) == ([320, 640, 960], 1200)


async def test_a_success_is_not_recorded_without_a_recipe(renderings: Renderings) -> None:
    assert not await renderings.record(uuid4(), sizes=[320], placeholder=PLACEHOLDER, width=1200, height=900)


async def test_an_unavailable_database_raises_an_error(make_settings: Callable[..., Settings]) -> None:
    address = f"postgres://nobody:not-a-password@{HOST}:{closed_port()}/recipes"
    async with open_engine(make_settings(DATABASE_URL=address)) as engine:
        renderings = Renderings(engine)
        for call in (
            renderings.claim(uuid4(), HOLDER),
            renderings.end(uuid4(), HOLDER, counts=True),
            renderings.give_up(uuid4(), HOLDER),
            renderings.allow_retry(uuid4()),
            renderings.record(uuid4(), sizes=[320], placeholder=PLACEHOLDER, width=1, height=1),
        ):
            with pytest.raises(DatabaseUnavailable):
                await call
