"""Deletions while the store or the database is unavailable: acknowledged ones happen, failed ones change nothing."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from recipe_api.database import deletions as table
from recipe_api.settings import Settings
from recipe_api.uploads import deletions
from tests.faults.conftest import GAVE_UP, Faulty
from tests.support.calls import PHOTO, post, uploaded
from tests.support.idempotency import key_of
from tests.support.log import lines_logged
from tests.support.problems import assert_problem
from tests.support.proxy import Fault, Plan
from tests.support.service import HOST, closed_port, running
from tests.support.sweeping import swept
from tests.support.traces import eventually

PENDING = "deletion pending; it will be retried"
AWAY = [Fault.INTERNAL_ERROR, Fault.FORBIDDEN, Fault.NOT_FOUND, Fault.RESET, Fault.STALLED, Fault.CUT_REQUEST]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service retry within a second or two."""
    monkeypatch.setattr(table, "FIRST_WAIT_SECONDS", 1)
    monkeypatch.setattr(deletions, "PAUSE_SECONDS", 1)


def delete(faulty: Faulty, recipe: dict[str, Any]) -> httpx.Response:
    with faulty.service.client(recipe["manage_token"]) as client:
        return client.delete(f"/recipe/{recipe['id']}")


def pending(faulty: Faulty) -> list[str]:
    return [record["key"] for record in faulty.backstage.sql("SELECT key FROM pending_deletion")]


def nothing_is_pending(faulty: Faulty) -> bool:
    return eventually(lambda: not pending(faulty))


@pytest.mark.parametrize("fault", AWAY, ids=str)
def test_without_the_store_the_photo_waits_for_the_sweep(faulty: Faulty, fault: Fault) -> None:
    recipe = uploaded(faulty.service)
    faulty.store.script.follow(Plan(call="DeleteObject", fault=fault, forever=True))

    assert delete(faulty, recipe).status_code == 204

    assert eventually(lambda: bool(faulty.log.events(PENDING)))
    assert faulty.backstage.rows() == []
    assert pending(faulty) == [recipe["key"]]
    assert not faulty.log.events(GAVE_UP)
    faulty.heal()
    assert swept(faulty.service.settings) == {"pending": 1}
    assert faulty.nothing_is_left()
    assert not pending(faulty)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.RESPONSE_LOST], ids=str)
def test_the_service_deletes_it_when_the_store_is_back(faulty: Faulty, fault: Fault) -> None:
    recipe = uploaded(faulty.service)
    faulty.store.script.follow(Plan(call="DeleteObject", fault=fault, forever=True))
    assert delete(faulty, recipe).status_code == 204
    assert eventually(lambda: bool(faulty.log.events(PENDING)))

    faulty.heal()

    assert nothing_is_pending(faulty)
    assert faulty.nothing_is_left()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.RESPONSE_LOST], ids=str)
def test_without_the_database_after_the_photo_is_deleted_the_entry_is_removed_later(
    faulty: Faulty, fault: Fault
) -> None:
    recipe = uploaded(faulty.service)
    forget = Plan(call="FORGET", fault=fault)
    faulty.database.script.follow(forget)

    assert delete(faulty, recipe).status_code == 204

    assert forget.reached.wait(60)
    assert nothing_is_pending(faulty)
    assert faulty.nothing_is_left()


def test_without_the_database_at_the_row_everything_stays(faulty: Faulty) -> None:
    recipe = uploaded(faulty.service)
    faulty.database.script.follow(Plan(call="REMOVE", fault=Fault.RESET, forever=True))

    assert_problem(delete(faulty, recipe), 503, "database-unavailable")

    faulty.heal()
    assert faulty.in_accord()
    assert faulty.backstage.objects() == [recipe["key"]]
    assert not pending(faulty)


@pytest.mark.usefixtures("soon")
def test_a_commit_whose_response_was_lost_deletes_both(faulty: Faulty) -> None:
    recipe = uploaded(faulty.service)
    faulty.database.script.follow(Plan(call="COMMIT", fault=Fault.RESPONSE_LOST, forever=True))

    assert_problem(delete(faulty, recipe), 503, "database-unavailable")

    faulty.heal()
    assert faulty.nothing_is_left()
    assert nothing_is_pending(faulty)


def test_an_object_that_the_store_does_not_have_counts_as_deleted(faulty: Faulty) -> None:
    recipe = uploaded(faulty.service)
    faulty.backstage.s3.delete_object(Bucket=faulty.backstage.bucket, Key=recipe["key"])
    faulty.store.script.follow(Plan(call="DeleteObject", fault=Fault.NO_SUCH_KEY, forever=True))

    assert delete(faulty, recipe).status_code == 204

    assert nothing_is_pending(faulty)
    assert not faulty.log.events(PENDING)


class TestTheSweepIsMentioned:
    """The log mentions the sweep only if it may find something."""

    def refused(self, faulty: Faulty, call: str, fault: Fault) -> int:
        """Return how often the log mentions the sweep if these calls of an upload and its cleanup fail."""
        away = [Plan(call=each, fault=fault, forever=True) for each in (call, "DeleteObject", "HeadObject")]
        faulty.store.script.follow(*away)
        with faulty.service.client() as client:
            assert_problem(post(client, photo=PHOTO), 503, "storage-unavailable")
        return len(faulty.log.events(GAVE_UP))

    def test_not_if_the_store_rejected_the_photo(self, faulty: Faulty) -> None:
        assert self.refused(faulty, "PutObject", Fault.FORBIDDEN) == 0
        assert "DeleteObject" not in faulty.store.script.calls

    def test_not_if_the_store_cannot_be_reached(self, make_settings: Callable[..., Settings], faulty: Faulty) -> None:
        settings = make_settings(S3_ENDPOINT_URL=f"http://{HOST}:{closed_port()}")
        with running(settings) as service, lines_logged() as log, service.client() as client:
            assert_problem(post(client), 503, "storage-unavailable")
            assert log.events("object store failed")
            assert not log.events(GAVE_UP)
        assert faulty.nothing_is_left()

    def test_once_if_the_photo_may_have_arrived(self, faulty: Faulty) -> None:
        assert self.refused(faulty, "PutObject", Fault.RESPONSE_LOST) == 1

    def test_not_if_only_a_claim_on_a_key_is_left(self, faulty: Faulty) -> None:
        faulty.store.script.follow(Plan(call="PutObject", fault=Fault.FORBIDDEN, forever=True))
        faulty.database.script.follow(Plan(call="RELEASE", fault=Fault.RESET, forever=True))
        with faulty.service.client() as client:
            assert_problem(post(client, headers={"Idempotency-Key": key_of("pancakes")}), 503, "storage-unavailable")

        assert not faulty.log.events(GAVE_UP)
