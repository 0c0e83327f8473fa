"""The repository on a real PostgreSQL: what it stores, the order of pages, and its errors."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from recipe_api.database import liveness, repository
from recipe_api.database import session as database_session
from recipe_api.database.deletions import ObjectRef
from recipe_api.database.inserts import ROWS_OF_UPLOADS, ROWS_WITH_KEYS
from recipe_api.database.models import Recipe, RecipeRow
from recipe_api.database.observation import End
from recipe_api.database.recipe_writer import RecipeWriter
from recipe_api.database.repository import Position, Recipes
from recipe_api.database.session import open_engine
from recipe_api.errors import DatabaseUnavailable, RecipeNotFound
from recipe_api.settings import Settings
from tests.support.examples import examples
from tests.support.rows import BEGINNING, emptied, photo_only, row
from tests.support.service import HOST, closed_port
from tests.support.traces import Backstage


def values(recipe: RecipeRow) -> dict[str, object]:
    return recipe._asdict()


class TestRows:
    def test_have_the_columns_of_the_table_in_its_order(self) -> None:
        assert list(RecipeRow._fields) == [column.name for column in Recipe.metadata.tables["recipe"].columns]

    @pytest.mark.parametrize(
        "label", ["Pancakes", "Crêpes 🥞", "Robert'); DROP TABLE recipe;--", "\\0 %s {x}", "x" * 65536]
    )
    async def test_are_returned_unchanged(self, recipes: Recipes, recipe_writer: RecipeWriter, label: str) -> None:
        recipe = row(label=label)
        written = values(recipe)

        await recipe_writer.add(recipe)

        assert values(await recipes.get(recipe.id)) == written

    async def test_are_renamed(self, recipes: Recipes, recipe_writer: RecipeWriter) -> None:
        recipe, other = row(), row()
        written = values(recipe)
        for each in (recipe, other):
            await recipe_writer.add(each)

        renamed = await recipes.rename(recipe.id, "Crêpes")

        assert values(renamed) == values(await recipes.get(recipe.id)) == written | {"label": "Crêpes"}
        assert (await recipes.get(other.id)).label == "Pancakes"

    async def test_are_deleted_and_return_their_object(self, recipes: Recipes, recipe_writer: RecipeWriter) -> None:
        recipe, other = row(), row()
        for each in (recipe, other):
            await recipe_writer.add(each)

        ref = ObjectRef(key=recipe.key, bucket=None, location=recipe.location)
        assert await recipes.remove(recipe.id, objects_of=photo_only) == [ref]
        with pytest.raises(RecipeNotFound):
            await recipes.get(recipe.id)
        assert (await recipes.get(other.id)).id == other.id

    async def test_that_do_not_exist_raise_an_error(self, recipes: Recipes) -> None:
        for call in (
            recipes.get(uuid4()),
            recipes.rename(uuid4(), "x"),
            recipes.remove(uuid4(), objects_of=photo_only),
        ):
            with pytest.raises(RecipeNotFound):
                await call

    async def test_are_reported_as_committed_once_they_are(self, recipes: Recipes, recipe_writer: RecipeWriter) -> None:
        recipe = row()

        assert not await recipes.is_committed(recipe)
        assert (await recipes.page(after=None, limit=1)).recipes == []
        await recipe_writer.add(recipe)
        assert await recipes.is_committed(recipe)


class TestPages:
    @settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        seconds=st.lists(st.integers(0, 4), max_size=12),  # few, so that many recipes have the same time
        limit=st.integers(1, 13),
    )
    async def test_contain_each_recipe_once_newest_first(
        self, recipes: Recipes, recipe_writer: RecipeWriter, engine: AsyncEngine, seconds: list[int], limit: int
    ) -> None:
        await emptied(engine)
        rows = [row(seconds=each) for each in seconds]
        expected = [each.id for each in sorted(rows, key=lambda r: (r.created_at, r.id), reverse=True)]
        for each in rows:
            await recipe_writer.add(each)

        pages = [page async for page in pages_of(recipes, limit)]

        assert [found for page in pages for found in page] == expected
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or not rows

    async def test_neither_repeat_nor_omit_recipes_while_others_are_added_and_deleted(
        self, recipes: Recipes, recipe_writer: RecipeWriter
    ) -> None:
        rows = [row(seconds=number) for number in range(6)]
        for each in rows:
            await recipe_writer.add(each)
        ids = [each.id for each in reversed(rows)]
        pages = pages_of(recipes, 2)

        seen = await anext(pages)
        await recipe_writer.add(row(seconds=100))
        await recipes.remove(ids[1], objects_of=photo_only)  # the last one on the page
        seen += [found async for page in pages for found in page]

        assert seen == ids

    async def test_continue_after_any_position(self, recipes: Recipes, recipe_writer: RecipeWriter) -> None:
        recipe = row(seconds=5)
        await recipe_writer.add(recipe)
        before, after = Position(BEGINNING, UUID(int=0)), Position(recipe.created_at, UUID(int=2**128 - 1))

        assert (await recipes.page(after=before, limit=1)).recipes == []
        assert [each.id for each in (await recipes.page(after=after, limit=1)).recipes] == [recipe.id]


class TestStems:
    async def test_find_the_photos_whose_keys_begin_with_them(
        self, recipes: Recipes, recipe_writer: RecipeWriter
    ) -> None:
        for key in ("1-a.jpg", "1-a0.jpg", "1-b.heic", "public/1-a.jpg", "1-", "1-c"):
            await recipe_writer.add(row()._replace(key=key))

        found = await recipes.with_stems(["1-a", "1-b", "1-c", "1-", "2-a"])

        assert sorted(photo.ref.key for photo in found) == ["1-a.jpg", "1-b.heic"]

    async def test_are_looked_up_in_the_index(self, recipes: Recipes, engine: AsyncEngine) -> None:  # noqa: ARG002 - empties the table
        async with engine.begin() as connection:
            await connection.execute(text(_MANY_ROWS))
            await connection.execute(text("ANALYZE recipe"))
            explain = text(f"EXPLAIN {repository.BY_STEM.text}")
            plan = "\n".join(await connection.scalars(explain, {"stems": [f"{number}-x" for number in range(1000)]}))

        assert "Index Scan using recipe_key" in plan
        assert "Seq Scan" not in plan

    async def test_a_rendition_is_removed_from_the_row_of_its_photo(
        self, recipes: Recipes, recipe_writer: RecipeWriter, engine: AsyncEngine
    ) -> None:
        first, second = row(), row()
        for each in (first, second):
            await recipe_writer.add(each)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE recipe SET rendition_sizes = ARRAY[320, 960]"))

        await recipes.forget_renditions([(first.key.removesuffix(".jpg"), 320), (first.key.removesuffix(".jpg"), 64)])

        assert (await recipes.get(first.id)).rendition_sizes == [960]
        assert (await recipes.get(second.id)).rendition_sizes == [320, 960]


_MANY_ROWS = """
    INSERT INTO recipe (id, label, key, location, content_type, size, etag, original_name, created_at)
    SELECT gen_random_uuid(), '', number || '-x.jpg', '', 'image/jpeg', 1, '', '', now()
    FROM generate_series(1, 50000) AS number
"""


@pytest.mark.parametrize(
    ("statement", "table"), [(ROWS_WITH_KEYS, "idempotency_key"), (ROWS_OF_UPLOADS, "staged_upload")]
)
async def test_what_an_inserted_row_finishes_is_looked_up_in_the_index(
    engine: AsyncEngine, statement: Select[Any], table: str
) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(_MANY[table]))
        await connection.execute(text(f"ANALYZE {table}"))
        explain = f"EXPLAIN {statement.compile(dialect=engine.dialect)}"
        plan = "\n".join((await connection.exec_driver_sql(explain, ("[{}]",))).scalars())
        await connection.rollback()

    assert f"Index Scan using {table}_pkey" in plan


_MANY = {
    "idempotency_key": """
        INSERT INTO idempotency_key (scope, key, claim, claimed_until, expires_at)
        SELECT '', gen_random_uuid(), gen_random_uuid(), now(), now() FROM generate_series(1, 5000)
    """,
    "staged_upload": """
        INSERT INTO staged_upload (id, owner, stem, filename, created_at, expires_at)
        SELECT gen_random_uuid(), '', gen_random_uuid(), '', now(), now() FROM generate_series(1, 5000)
    """,
}


class TestAnUnavailableDatabase:
    @pytest.fixture
    async def away(self, make_settings: Callable[..., Settings]) -> AsyncIterator[Recipes]:
        address = f"postgres://nobody:not-a-password@{HOST}:{closed_port()}/recipes"
        async with open_engine(make_settings(DATABASE_URL=address)) as engine:
            yield Recipes(engine)

    async def test_makes_every_call_raise_an_error_without_the_password(self, away: Recipes) -> None:
        for call in (
            away.get(uuid4()),
            away.page(after=None, limit=1),
            away.rename(uuid4(), "x"),
            away.remove(uuid4(), objects_of=photo_only),
            away.is_committed(row()),
            away.with_stems([]),
        ):
            with pytest.raises(DatabaseUnavailable) as raised:
                await call
            assert "not-a-password" not in str(raised.value)

    @pytest.mark.parametrize("user", ["nobody", ""])
    async def test_includes_a_server_that_rejects_the_login(
        self, make_settings: Callable[..., Settings], database_url: str, user: str
    ) -> None:
        if not user:
            address = database_url.rpartition("/")[0] + "/no_such_database"
        else:
            address = f"postgres://{user}:not-a-password@{database_url.rpartition('@')[2]}"
        async with open_engine(make_settings(DATABASE_URL=address)) as engine:
            with pytest.raises(DatabaseUnavailable):
                await Recipes(engine).with_stems([])


class TestPool:
    async def test_raises_an_error_when_exhausted_and_recovers(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database_session, "POOL_SECONDS", 0.2)
        async with open_engine(make_settings(DATABASE_POOL_SIZE="4")) as engine:
            recipes = Recipes(engine)
            async with engine.connect(), engine.connect():
                with pytest.raises(DatabaseUnavailable):
                    await recipes.with_stems([])
            await recipes.with_stems([])

    async def test_serves_more_callers_than_it_has_connections(self, make_settings: Callable[..., Settings]) -> None:
        async with open_engine(make_settings(DATABASE_POOL_SIZE="2")) as engine:
            await asyncio.gather(*(Recipes(engine).with_stems([]) for _ in range(20)))

    async def test_replaces_connections_that_broke_unnoticed(
        self, make_settings: Callable[..., Settings], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(liveness, "TRUSTED_SECONDS", 0)
        async with open_engine(make_settings(DATABASE_POOL_SIZE="2")) as ours:
            backend = await backend_of(ours)
            with ThreadPoolExecutor(1) as thread:  # the event loop is blocked meanwhile, so the driver notices nothing
                thread.submit(backstage.sql, "SELECT pg_terminate_backend($1, 5000)", backend).result()

            await Recipes(ours).page(after=None, limit=1)

    @pytest.mark.parametrize("trusted_seconds", [0, 60])
    async def test_keeps_connections_that_work(
        self, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, trusted_seconds: float
    ) -> None:
        monkeypatch.setattr(liveness, "TRUSTED_SECONDS", trusted_seconds)
        async with open_engine(make_settings(DATABASE_POOL_SIZE="2")) as ours:
            backend = await backend_of(ours)
            await Recipes(ours).page(after=None, limit=1)

            assert await backend_of(ours) == backend

    async def test_serves_others_after_a_cancelled_read(
        self, make_settings: Callable[..., Settings], engine: AsyncEngine
    ) -> None:
        async with open_engine(make_settings(DATABASE_POOL_SIZE="2")) as ours, engine.connect() as other:
            recipes = Recipes(ours)
            await other.execute(text("LOCK TABLE recipe"))
            reading = asyncio.create_task(recipes.page(after=None, limit=1))
            async with engine.connect() as observing:
                while not await observing.scalar(_WAITS_FOR_A_LOCK):
                    await observing.rollback()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await other.rollback()

            assert (await recipes.page(after=Position(BEGINNING, UUID(int=0)), limit=1)).recipes == []

    async def test_serves_others_after_an_observer_has_failed(self, make_settings: Callable[..., Settings]) -> None:
        def failing(operation: str, table: str | None) -> End:
            raise LookupError(operation, table)

        async with open_engine(make_settings(DATABASE_POOL_SIZE="2")) as ours:
            observed = Recipes(ours)
            observed.observe(failing)
            with pytest.raises(LookupError):
                await observed.page(after=None, limit=1)

            await Recipes(ours).page(after=None, limit=1)

    async def test_replaces_connections_that_the_server_has_ended(
        self, make_settings: Callable[..., Settings], engine: AsyncEngine
    ) -> None:
        async with open_engine(make_settings(DATABASE_POOL_SIZE="2")) as ours:
            recipes = Recipes(ours)
            await recipes.with_stems([])
            backend = await backend_of(ours)
            async with engine.connect() as other:
                await other.exec_driver_sql(f"SELECT pg_terminate_backend({backend}, 5000)")

            await recipes.with_stems([])


async def backend_of(engine: AsyncEngine) -> object:
    """Return the id of the server process of a connection in the pool."""
    async with engine.connect() as connection:
        return (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()


_WAITS_FOR_A_LOCK = text("SELECT true FROM pg_locks WHERE NOT granted AND relation = 'recipe'::regclass")


async def pages_of(recipes: Recipes, limit: int) -> AsyncIterator[list[UUID]]:
    """Yield the ids on each page; one empty page if there are no recipes."""
    after = None
    while True:
        page = await recipes.page(after=after, limit=limit)
        yield [recipe.id for recipe in page.recipes]
        after = page.next
        if after is None:
            return
