"""What happens to the object and the row when the deadline of the response passes during the insert."""

import asyncio
from collections.abc import Callable

import pytest

from recipe_api.database.idempotency import Finished
from recipe_api.database.models import RecipeBase
from recipe_api.database.recipe_writer import RecipeWriter
from tests.support.calls import PHOTO, post
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import Service
from tests.support.traces import Backstage


def test_an_upload_succeeds_if_its_row_was_committed_before_the_deadline(
    start_service: Callable[..., Service], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = RecipeWriter.add

    async def commit_and_time_out(self: RecipeWriter, recipe: RecipeBase, finished: Finished | None = None) -> None:
        await add(self, recipe, finished)
        raise TimeoutError

    monkeypatch.setattr(RecipeWriter, "add", commit_and_time_out)

    with start_service().client() as client:
        response = post(client)

    assert response.status_code == 201
    assert_stored(response.json(), PHOTO, backstage)


def test_an_upload_fails_and_deletes_its_object_if_its_row_was_not_written_before_the_deadline(
    start_service: Callable[..., Service], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(_self: RecipeWriter, _recipe: RecipeBase, _finished: Finished | None = None) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RecipeWriter, "add", wait)
    monkeypatch.setattr("recipe_api.uploads.clock.RESPONSE_SECONDS", 3)

    with start_service().client() as client:
        assert_problem(post(client), 503, "database-unavailable")

    assert backstage.nothing_is_left()
