"""What clients have used of their quotas, on a real PostgreSQL: added with rows, and only once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database import client_usage
from recipe_api.database.client_usage import Charge, ClientUsages, Used
from recipe_api.database.idempotency import Claim, IdempotencyKeys
from recipe_api.database.recipe_writer import RecipeWriter, open_recipe_writer
from recipe_api.errors import IdempotencyKeyInUse
from recipe_api.settings import Settings
from tests.support.rows import row

CLIENT, OTHER = -5, 7


@pytest.fixture(autouse=True)
async def no_usage(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM client_usage"))


@pytest.fixture
async def other_writer(make_settings: Callable[..., Settings], engine: AsyncEngine) -> AsyncIterator[RecipeWriter]:
    """The writer of another process."""
    async with open_recipe_writer(make_settings(), engine) as opened:
        yield opened


async def used(writer: RecipeWriter, uploads: float, size: float, *, client: int = CLIENT) -> tuple[float, float]:
    """Insert a charged row, and return the usage of its client, rounded to seconds."""
    charge = Charge(client, uploads, size)
    await writer.add(row(), None, charge)
    assert charge.used is not None
    return round(charge.used.uploads), round(charge.used.bytes)


async def test_a_charge_adds_to_the_charges_of_all_processes(
    recipe_writer: RecipeWriter, other_writer: RecipeWriter
) -> None:
    assert await used(recipe_writer, 100, 5000) == (100, 5000)
    assert await used(other_writer, 10, 70) == (110, 5070)
    assert await used(recipe_writer, 1, 0, client=OTHER) == (1, 0)


async def test_what_has_been_restored_no_longer_counts(recipe_writer: RecipeWriter, engine: AsyncEngine) -> None:
    await used(recipe_writer, 100, 5000)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE client_usage SET uploads_restored_at = now() - interval '1 day'"))

    assert await used(recipe_writer, 10, 0) == (10, 5000)


async def test_rows_of_one_statement_are_charged_together(recipe_writer: RecipeWriter) -> None:
    charges = [Charge(CLIENT, 10, 100), Charge(OTHER, 20, 0), Charge(CLIENT, 30, 200), Charge(CLIENT, 40, 300)]
    await asyncio.gather(*(recipe_writer.add(row(), None, charge) for charge in charges))

    assert {(charge.client, rounded(charge.used)) for charge in charges[1:]} == {(CLIENT, (80, 600)), (OTHER, (20, 0))}


async def test_a_row_that_is_sent_again_is_charged_once(recipe_writer: RecipeWriter) -> None:
    recipe, charge = row(), Charge(CLIENT, 100, 5000)
    await recipe_writer.add(recipe, None, charge)
    again = Charge(CLIENT, 100, 5000)
    await recipe_writer.add(recipe, None, again)

    assert again.used is None
    assert await used(recipe_writer, 1, 1) == (101, 5001)


async def test_a_row_with_an_idempotency_key_is_charged_only_if_its_claim_is_valid(
    recipe_writer: RecipeWriter, engine: AsyncEngine
) -> None:
    keys = IdempotencyKeys(engine, kept_seconds=60)
    claim = await keys.claim("", f"{uuid4()}")
    assert isinstance(claim, Claim)
    charge, lost = Charge(CLIENT, 100, 5000), Charge(CLIENT, 100, 5000)
    recipe = row()
    await recipe_writer.add(recipe, keys.finished(claim, b"f" * 32), charge)
    await recipe_writer.add(recipe, keys.finished(claim, b"f" * 32), Charge(CLIENT, 100, 5000))  # sent again
    with pytest.raises(IdempotencyKeyInUse):
        await recipe_writer.add(row(), keys.finished(Claim("", claim.key, uuid4()), b"f" * 32), lost)

    assert rounded(charge.used) == (100, 5000)
    assert await used(recipe_writer, 1, 1) == (101, 5001)


async def test_usage_that_is_restored_is_deleted(recipe_writer: RecipeWriter, engine: AsyncEngine) -> None:
    await used(recipe_writer, 0, 5000)
    await used(recipe_writer, 0, 0, client=OTHER)

    await ClientUsages(engine).delete_restored()

    async with engine.begin() as connection:
        assert (await connection.scalars(text("SELECT client FROM client_usage"))).all() == [CLIENT]


async def test_deleting_restored_usage_does_not_wait_for_a_charge(
    recipe_writer: RecipeWriter, engine: AsyncEngine
) -> None:
    await used(recipe_writer, 0, 0)
    await used(recipe_writer, 0, 0, client=OTHER)

    async with engine.begin() as charging:
        await client_usage.add(charging, Charge(CLIENT, 100, 5000))
        async with asyncio.timeout(5):
            await ClientUsages(engine).delete_restored()

    async with engine.begin() as connection:
        assert (await connection.scalars(text("SELECT client FROM client_usage"))).all() == [CLIENT]


class Recording(RecipeWriter):
    """Records the statements that it sends."""

    statements: list[str]

    async def _run(self, sql: str, document: str) -> "list[asyncpg.Record]":
        self.statements.append(sql)
        return await super()._run(sql, document)


async def test_rows_without_a_charge_do_not_touch_the_table(
    make_settings: Callable[..., Settings], engine: AsyncEngine
) -> None:
    keys = IdempotencyKeys(engine, kept_seconds=60)
    claim = await keys.claim("", f"{uuid4()}")
    assert isinstance(claim, Claim)
    async with open_recipe_writer(make_settings(), engine, Recording) as writer:
        assert isinstance(writer, Recording)
        writer.statements = []
        await writer.add(row())
        await writer.add(row(), keys.finished(claim, b"f" * 32))
        await writer.add(row(), None, Charge(CLIENT, 1, 1))

        assert ["client_usage" in statement for statement in writer.statements] == [False, False, True]


def rounded(amounts: Used | None) -> tuple[int, int]:
    assert amounts is not None
    return round(amounts.uploads), round(amounts.bytes)
