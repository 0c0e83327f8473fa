"""Uploads in pieces while the store or the database fails: one recipe or none, and the response comes in time."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from recipe_api.uploads import staged_source
from tests.faults.conftest import GAVE_UP, Faulty
from tests.support.forms import jpeg
from tests.support.problems import assert_problem
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.service import NO_TLS
from tests.support.sweeping import swept
from tests.support.traces import eventually

PENDING = "deletion pending; it will be retried"
RETRYING = "object store request failed; retrying"
PHOTO = jpeg(500)


def sent(client: httpx.Client) -> str:
    """Send a photo in one piece, and return the id of the upload."""
    upload = client.post("/uploads", json={"filename": "pancakes.jpg", "size": len(PHOTO), "label": "Pancakes"}).json()
    [piece] = upload["pieces"]
    with httpx.Client(trust_env=False, verify=NO_TLS) as store:
        assert store.put(piece["url"], content=PHOTO).status_code == 200
    upload_id: str = upload["id"]
    return upload_id


def test_a_completion_does_not_wait_for_a_store_that_hangs(faulty: Faulty) -> None:
    with faulty.service.client() as client:
        upload_id = sent(client)
        faulty.store.script.follow(Plan(call="DeleteObject", fault=Fault.HELD, forever=True))
        recipe = client.post("/recipe", json={"upload": upload_id})
        assert not faulty.log.events(PENDING), "the service waited for the attempt to delete the piece"
        faulty.heal()

    assert recipe.status_code == 201
    assert faulty.in_accord()


def test_a_deletion_does_not_wait_for_a_store_that_hangs(faulty: Faulty) -> None:
    with faulty.service.client() as client:
        upload_id = sent(client)
        faulty.store.script.follow(Plan(call="DeleteObject", fault=Fault.HELD, forever=True))
        response = client.delete(f"/uploads/{upload_id}")
        assert not faulty.log.events(PENDING), "the service waited for the attempt to delete the piece"
        faulty.heal()

    assert response.status_code == 204
    assert faulty.nothing_is_left()
    assert not faulty.log.events(GAVE_UP)


@pytest.mark.parametrize("call", ["GetBucket", "GetObject"])
def test_a_completion_ends_at_its_deadline(faulty: Faulty, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with faulty.service.client() as client:
        upload_id = sent(client)
        plan = Plan(call=call, fault=Fault.HELD, forever=True)
        faulty.store.script.follow(plan)
        with monkeypatch.context() as patched:
            patched.setattr(staged_source, "RESPONSE_SECONDS", 1)
            assert_problem(client.post("/recipe", json={"upload": upload_id}), 503, "storage-unavailable")
        assert plan.struck == 1
        assert not faulty.log.events(RETRYING), "the call reached its own timeout first"
        faulty.heal()

        assert client.post("/recipe", json={"upload": upload_id}).status_code == 201, "the upload should still exist"
    assert faulty.in_accord()


def statements(*names: str) -> list[str]:
    """Return the names of a transaction's calls, with the check of the pooled connection."""
    return ["OTHER", "BEGIN", *names]


_INERT = {"BEGIN", "OTHER", "ROLLBACK"}
_LOOKUP = statements("READ UPLOAD", "OTHER", "ROLLBACK")
_END = statements("END UPLOAD", "REQUEST DELETION", "COMMIT")
CALLS = {
    "begin": (
        [],
        statements("LOCK OWNER", "COUNT UPLOADS", "OTHER", "REMOVE ENDED UPLOADS", "ADD UPLOAD", "COMMIT"),
    ),
    "complete": (
        ["GetBucket", "GetObject", "PutObject", "DeleteObject"],
        [*statements("CLAIM UPLOAD", "COMMIT"), "ROW AND UPLOAD"],
    ),
    "delete": (["DeleteObject"], [*_LOOKUP, *_END]),
}
"""The calls to the store and to the database that each operation makes."""


def begun(client: httpx.Client) -> httpx.Response:
    return client.post("/uploads", json={"filename": "pancakes.jpg", "size": len(PHOTO), "label": "Pancakes"})


def completed(client: httpx.Client, upload_id: str) -> httpx.Response:
    return client.post("/recipe", json={"upload": upload_id})


def is_completed(client: httpx.Client, upload_id: str) -> bool:
    return completed(client, upload_id).status_code == 201


def plans(calls: list[str], fault: Fault, *, forever: bool = False) -> list[Plan]:
    """Return a plan for each call that reads or changes something."""
    places = [(call, calls[: i + 1].count(call)) for i, call in enumerate(calls)]
    return [Plan(call=call, nth=nth, fault=fault, forever=forever) for call, nth in places if call not in _INERT]


def urls_expired(faulty: Faulty) -> None:
    faulty.backstage.sql("UPDATE staged_upload SET expires_at = now() - interval '2 hours'")
    faulty.backstage.sql("UPDATE pending_deletion SET requested_at = now(), next_attempt_at = now()")


def calls_of(faulty: Faulty) -> tuple[list[str], list[str]]:
    return list(faulty.store.script.calls), list(faulty.database.script.calls)


@pytest.fixture
def connected(faulty: Faulty) -> Faulty:
    """Prepare the statements on all connections."""
    faulty.database.cut_all()
    with faulty.service.client() as client:
        for _ in range(3):
            completed(client, sent(client))
            client.delete(f"/uploads/{sent(client)}")
    faulty.backstage.clear()
    faulty.heal()
    return faulty


def test_each_operation_makes_exactly_these_calls(connected: Faulty) -> None:
    made = {}
    with connected.service.client() as client:
        for name, operation in (("complete", completed), ("delete", lambda c, i: c.delete(f"/uploads/{i}"))):
            upload_id = sent(client)
            connected.heal()
            operation(client, upload_id)
            made[name] = calls_of(connected)
        connected.heal()
        begun(client)
        made["begin"] = calls_of(connected)

    assert made == CALLS


class TestAFaultOfTheDatabase:
    """At every statement. The hardest fault is always tested: the statement is executed, but its response is lost."""

    FAULTS = (
        pytest.param(Fault.RESPONSE_LOST, False, id="response lost"),
        pytest.param(Fault.RESET, False, id="reset", marks=pytest.mark.exhaustive),
        pytest.param(Fault.STALLED, False, id="stalled", marks=pytest.mark.exhaustive),
        pytest.param(Fault.RESPONSE_LOST, True, id="response lost for ever"),
        pytest.param(Fault.RESET, True, id="reset for ever"),
    )

    @pytest.mark.parametrize(("fault", "forever"), FAULTS)
    def test_never_lets_an_upload_become_two_recipes(self, connected: Faulty, fault: Fault, *, forever: bool) -> None:
        with connected.service.client() as client:
            for plan in plans(CALLS["complete"][1], fault, forever=forever):
                upload_id = sent(client)
                connected.database.script.follow(plan)
                first = completed(client, upload_id)
                assert plan.struck >= 1, plan
                assert first.status_code in {201, 503}, (plan, first.text)
                connected.heal()

                # A claim that could not be released expires after a while.
                assert eventually(partial(is_completed, client, upload_id)), plan
                again = completed(client, upload_id)
                assert again.headers["Idempotency-Replayed"] == "true"
                assert first.status_code == 503 or first.json() == again.json()
                urls_expired(connected)
                swept(connected.service.settings)
                assert connected.in_accord(), plan
                assert [str(row["id"]) for row in connected.backstage.rows()] == [again.json()["id"]]
                assert_stored(again.json(), PHOTO, connected.backstage)
                connected.backstage.clear()

    def test_cannot_separate_a_recipe_from_the_end_of_its_upload(self, connected: Faulty) -> None:
        with connected.service.client() as client:
            upload_id = sent(client)
            connected.database.script.follow(Plan(call="ROW AND UPLOAD", fault=Fault.RESPONSE_LOST, forever=True))
            completed(client, upload_id)
            connected.heal()

        [upload] = connected.backstage.sql("SELECT recipe_id, ended_at, label FROM staged_upload")
        assert upload["recipe_id"] == connected.backstage.rows()[0]["id"]
        assert upload["ended_at"] is not None
        assert upload["label"] is None
        [piece] = connected.backstage.sql("SELECT key, requested_at > now() AS later FROM pending_deletion")
        assert piece["key"].endswith(".part")
        assert piece["later"], "the deletion must wait while the client can write the piece"

    @pytest.mark.parametrize(("fault", "forever"), FAULTS)
    def test_leaves_no_upload_that_its_client_does_not_know(
        self, connected: Faulty, fault: Fault, *, forever: bool
    ) -> None:
        with connected.service.client() as client:
            for plan in plans(CALLS["begin"][1], fault, forever=forever):
                connected.database.script.follow(plan)
                response = begun(client)
                assert plan.struck >= 1, plan
                connected.heal()

                rows = [row["id"] for row in connected.backstage.sql("SELECT id FROM staged_upload")]
                if response.status_code == 201:
                    assert rows == [response.json()["id"]]
                else:
                    assert_problem(response, 503, "database-unavailable")
                    assert rows == [] or (plan.call == "COMMIT" and forever), plan
                connected.backstage.clear()

    @pytest.mark.parametrize(("fault", "forever"), FAULTS)
    def test_never_undoes_a_deletion(self, connected: Faulty, fault: Fault, *, forever: bool) -> None:
        with connected.service.client() as client:
            for plan in plans(CALLS["delete"][1], fault, forever=forever):
                upload_id = sent(client)
                connected.database.script.follow(plan)
                first = client.delete(f"/uploads/{upload_id}")
                assert plan.struck >= 1, plan
                connected.heal()

                if first.status_code == 503:
                    assert client.delete(f"/uploads/{upload_id}").status_code in {204, 404}, plan
                else:
                    assert first.status_code == 204
                assert_problem(completed(client, upload_id), 404, "upload-not-found")
                urls_expired(connected)
                swept(connected.service.settings)
                assert connected.nothing_is_left(), plan
                connected.backstage.clear()


class TestAFaultOfTheStore:
    FAULTS = (
        pytest.param(Fault.INTERNAL_ERROR, False, id="500"),
        pytest.param(Fault.RESPONSE_TRUNCATED, False, id="truncated"),
        pytest.param(Fault.RESPONSE_LOST, False, id="response lost"),
        pytest.param(Fault.RESET, False, id="reset", marks=pytest.mark.exhaustive),
        pytest.param(Fault.CUT_REQUEST, False, id="cut", marks=pytest.mark.exhaustive),
        pytest.param(Fault.INTERNAL_ERROR, True, id="500 for ever"),
        pytest.param(Fault.RESPONSE_LOST, True, id="response lost for ever"),
    )

    @pytest.mark.parametrize(("fault", "forever"), FAULTS)
    def test_loses_no_upload(self, connected: Faulty, fault: Fault, *, forever: bool) -> None:
        with connected.service.client() as client:
            for plan in plans(CALLS["complete"][0], fault, forever=forever):
                upload_id = sent(client)
                connected.store.script.follow(plan)
                first = completed(client, upload_id)
                assert plan.struck >= 1, plan
                assert first.status_code in {201, 503}, (plan, first.text)
                connected.heal()

                again = completed(client, upload_id)
                assert again.status_code == 201, (plan, again.text)
                assert first.status_code == 503 or first.json() == again.json()
                urls_expired(connected)
                swept(connected.service.settings)
                assert connected.in_accord(), plan
                assert_stored(again.json(), PHOTO, connected.backstage)
                connected.backstage.clear()


def test_a_deletion_during_a_completion_wins(faulty: Faulty) -> None:
    reading = Plan(call="PutObject", fault=Fault.HELD)
    with faulty.service.client() as client, ThreadPoolExecutor(1) as pool:
        upload_id = sent(client)
        faulty.store.script.follow(reading)
        completion = pool.submit(completed, client, upload_id)
        assert reading.reached.wait(60)
        assert client.delete(f"/uploads/{upload_id}").status_code == 204
        reading.gate.set()
        assert_problem(completion.result(), 409, "upload-in-progress")
        assert_problem(completed(client, upload_id), 404, "upload-not-found")

    assert faulty.nothing_is_left()
