"""Uploads in pieces while the store hangs: the response comes in time."""

import httpx
import pytest

from recipe_api.uploads import staged_source
from tests.faults.conftest import GAVE_UP, Faulty
from tests.support.forms import jpeg
from tests.support.problems import assert_problem
from tests.support.proxy import Fault, Plan
from tests.support.service import NO_TLS

PENDING = "deletion pending; it will be retried"
RETRYING = "object store request failed; retrying"
PHOTO = jpeg(500)


def sent(client: httpx.Client) -> str:
    """Send a photo in one piece, and return the id of the upload."""
    upload = client.post("/uploads", json={"filename": "a.jpg", "size": len(PHOTO), "label": "Pancakes"}).json()
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
        assert not faulty.log.events(PENDING), "the attempt to delete the piece has not ended"
        faulty.heal()

    assert recipe.status_code == 201
    assert faulty.in_accord()


def test_a_deletion_does_not_wait_for_a_store_that_hangs(faulty: Faulty) -> None:
    with faulty.service.client() as client:
        upload_id = sent(client)
        faulty.store.script.follow(Plan(call="DeleteObject", fault=Fault.HELD, forever=True))
        response = client.delete(f"/uploads/{upload_id}")
        assert not faulty.log.events(PENDING), "the attempt to delete the piece has not ended"
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
        assert not faulty.log.events(RETRYING), "the call has not reached its own timeout"
        faulty.heal()

        assert client.post("/recipe", json={"upload": upload_id}).status_code == 201, "the upload is still there"
    assert faulty.in_accord()
