"""The row of an object that is there: what becomes of both when the time for an answer runs out in the middle."""

import asyncio
from collections.abc import Callable

import pytest

from recipe_api.app import _services
from recipe_api.database.idempotency import Finished
from recipe_api.database.models import Recipe, RecipeBase
from recipe_api.database.records import Records
from recipe_api.errors import DatabaseUnavailable
from recipe_api.resources import open_resources
from recipe_api.settings import Settings
from recipe_api.storage.body import Body
from recipe_api.storage.protocol import Attributes
from tests.support.rows import row
from tests.support.traces import Backstage


class AnswerLate(Records):
    """Commits, and does not come back to tell."""

    async def add(self, recipe: RecipeBase, finished: Finished | None = None) -> None:
        await super().add(recipe, finished)
        await asyncio.Event().wait()


class NeverBegins(Records):
    """Waits before it writes anything."""

    async def add(self, recipe: RecipeBase, finished: Finished | None = None) -> None:  # noqa: ARG002 - as its parent
        await asyncio.Event().wait()


async def record(settings: Settings, kind: type[Records]) -> Recipe:
    """Records an object that is there, with little time for it."""
    async with open_resources(settings) as resources:
        uploads = _services(settings, resources).uploads
        uploads._records = kind(resources.records._pool)
        recipe = row()
        await resources.store.put(
            recipe.key, Body(b"x"), Attributes(content_type="image/jpeg", content_disposition="inline")
        )
        await uploads._record(recipe, None, deadline=asyncio.get_running_loop().time() + 2)
        return recipe


def test_a_row_that_was_committed_in_time_counts_though_its_answer_did_not_come(
    make_settings: Callable[..., Settings], backstage: Backstage
) -> None:
    recipe = asyncio.run(record(make_settings(), AnswerLate))

    assert backstage.objects() == [recipe.key]
    assert [row["key"] for row in backstage.rows()] == [recipe.key]


def test_a_row_that_was_not_written_in_time_takes_its_object_along(
    make_settings: Callable[..., Settings], backstage: Backstage
) -> None:
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(record(make_settings(), NeverBegins))

    assert backstage.nothing_is_left()
