"""What happens to the object and the row when the deadline of the response passes during the insert."""

from collections.abc import Callable

import pytest

from recipe_api.database.client_usage import Charge
from recipe_api.database.models import RecipeRow
from recipe_api.database.recipe_writer import Finishing, RecipeWriter
from recipe_api.errors import CommitInDoubt
from tests.support.calls import PHOTO, post
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import Service
from tests.support.traces import Backstage


def test_an_upload_succeeds_if_its_row_was_committed_before_the_deadline(
    start_service: Callable[..., Service], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = RecipeWriter.add

    async def commit_in_doubt(
        self: RecipeWriter,
        recipe: RecipeRow,
        finished: Finishing | None = None,
        charge: Charge | None = None,
        *,
        until: float | None = None,
    ) -> None:
        await add(self, recipe, finished, charge, until=until)
        raise CommitInDoubt("The database did not respond in time.")

    monkeypatch.setattr(RecipeWriter, "add", commit_in_doubt)

    with start_service().client() as client:
        response = post(client)

    assert response.status_code == 201
    assert_stored(response.json(), PHOTO, backstage)


def test_an_upload_fails_and_deletes_its_object_if_its_row_was_not_written_before_the_deadline(
    start_service: Callable[..., Service], backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_doubt(*_: object, until: float) -> None:  # noqa: ARG001 - the method's signature
        raise CommitInDoubt("The database did not respond in time.")

    monkeypatch.setattr(RecipeWriter, "add", in_doubt)

    with start_service().client() as client:
        assert_problem(post(client), 503, "database-unavailable")

    assert backstage.nothing_is_left()
