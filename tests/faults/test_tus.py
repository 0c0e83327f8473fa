"""tus uploads while the store or the database fails: a client that resumes loses nothing, and leaves no orphans."""

import httpx
import pytest

from recipe_api.settings import PART_SIZE
from tests.faults.conftest import GAVE_UP, Faulty
from tests.support.forms import jpeg
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.sweeping import swept
from tests.support.traces import eventually
from tests.support.tus import TUS, append, complete, create

PHOTO = jpeg(PART_SIZE + 1000)
"""Two pieces."""

STATEMENTS = [
    ("CLAIM UPLOAD", 1),
    ("RECORD PIECE", 1),
    ("RECORD PIECE", 2),
    ("RELEASE UPLOAD", 1),
    *(("COMMIT", nth) for nth in range(1, 6)),
    ("ROW AND UPLOAD", 1),
]


def continued(faulty: Faulty, client: httpx.Client, path: str) -> dict[str, object]:
    """Resume an upload like a client until it is complete, and return the recipe."""

    def one_more_attempt() -> bool:
        # A claim whose release was lost expires after a while.
        faulty.backstage.sql("UPDATE staged_upload SET claimed_until = now() WHERE claim IS NOT NULL")
        asked = client.head(path, headers=TUS)
        if asked.status_code == 200 and int(asked.headers["Upload-Offset"]) < len(PHOTO):
            offset = int(asked.headers["Upload-Offset"])
            append(client, path, PHOTO[offset:], offset=offset)
        return "Content-Location" in asked.headers

    assert eventually(one_more_attempt)
    response = complete(client, path)
    assert response.status_code == 201, response.text
    recipe: dict[str, object] = response.json()
    return recipe


def check(faulty: Faulty, client: httpx.Client, path: str, plan: Plan) -> None:
    """Check that the upload becomes one recipe, and that nothing else is left."""
    recipe = continued(faulty, client, path)
    assert [str(row["id"]) for row in faulty.backstage.rows()] == [recipe["id"]]
    assert_stored(recipe, PHOTO, faulty.backstage)
    swept(faulty.service.settings)
    assert faulty.in_accord(), plan
    faulty.backstage.clear()


class TestAFaultOfTheDatabase:
    @pytest.mark.parametrize(
        "fault",
        [
            pytest.param(Fault.RESPONSE_LOST, id="response lost"),
            pytest.param(Fault.RESET, id="reset"),
            pytest.param(Fault.STALLED, id="stalled", marks=pytest.mark.exhaustive),
        ],
    )
    def test_loses_no_upload(self, faulty: Faulty, fault: Fault) -> None:
        with faulty.service.client() as client:
            for call, nth in STATEMENTS:
                path = create(client, len(PHOTO), label="Pancakes")
                plan = Plan(call=call, nth=nth, fault=fault)
                faulty.database.script.follow(plan)
                response = append(client, path, PHOTO, offset=0)
                assert plan.struck == 1, plan
                assert response.status_code in {204, 423, 503}, (plan, response.text)
                faulty.heal()
                check(faulty, client, path, plan)


class TestAFaultOfTheStore:
    @pytest.mark.parametrize(
        ("fault", "forever"),
        [
            pytest.param(Fault.INTERNAL_ERROR, False, id="500"),
            pytest.param(Fault.RESPONSE_LOST, False, id="response lost"),
            pytest.param(Fault.CUT_REQUEST, False, id="cut", marks=pytest.mark.exhaustive),
            pytest.param(Fault.INTERNAL_ERROR, True, id="500 for ever"),
        ],
    )
    def test_loses_no_upload(self, faulty: Faulty, fault: Fault, *, forever: bool) -> None:
        with faulty.service.client() as client:
            for nth in (1, 2):
                path = create(client, len(PHOTO), label="Pancakes")
                plan = Plan(call="PutObject", nth=nth, fault=fault, forever=forever)
                faulty.store.script.follow(plan)
                response = append(client, path, PHOTO, offset=0)
                assert plan.struck >= 1, plan
                assert response.status_code == (503 if forever else 204), (plan, response.text)
                faulty.heal()
                check(faulty, client, path, plan)

    def test_of_a_completion_leaves_it_to_the_next_request_for_the_offset(self, faulty: Faulty) -> None:
        with faulty.service.client() as client:
            path = create(client, len(PHOTO), label="Pancakes")
            plan = Plan(call="GetObject", fault=Fault.INTERNAL_ERROR, forever=True)
            faulty.store.script.follow(plan)
            assert append(client, path, PHOTO, offset=0).status_code == 503
            faulty.heal()
            check(faulty, client, path, plan)

    def test_that_lasts_tells_clients_to_ask_again_because_at_503_they_start_over(self, faulty: Faulty) -> None:
        with faulty.service.client() as client:
            path = create(client, len(PHOTO), label="Pancakes")
            plan = Plan(call="GetObject", fault=Fault.INTERNAL_ERROR, forever=True)
            faulty.store.script.follow(plan)
            append(client, path, PHOTO, offset=0)
            asked = client.head(path, headers=TUS)
            assert (asked.status_code, asked.headers["Retry-After"]) == (423, "2")
            faulty.heal()
            check(faulty, client, path, plan)


def test_the_log_of_a_failure_shows_no_whole_key(faulty: Faulty) -> None:
    with faulty.service.client() as client:
        path = create(client, len(PHOTO))
        [upload] = faulty.backstage.sql("SELECT stem FROM staged_upload WHERE ended_at IS NULL")
        faulty.store.script.follow(
            Plan(call="PutObject", fault=Fault.RESET, forever=True),
            Plan(call="DeleteObject", fault=Fault.RESET, forever=True),
        )
        append(client, path, PHOTO, offset=0)
        assert eventually(lambda: bool(faulty.log.events(GAVE_UP)))
    faulty.heal()

    assert not [line for line in faulty.log.text if upload["stem"] in line]
