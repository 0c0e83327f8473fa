"""Faults of the object store: at every call of a small and a large upload, of every kind, transient and permanent."""

from dataclasses import dataclass

import httpx
import pytest

from recipe_api.settings import PART_SIZE
from tests.faults.conftest import Faulty
from tests.support.calls import post
from tests.support.forms import jpeg
from tests.support.problems import assert_problem
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.sweeping import swept

SMALL, LARGE = jpeg(3000), jpeg(2 * PART_SIZE + 100_000)
PHOTOS = {"small": SMALL, "large": LARGE}
POSITIONS = {
    "small": ["PutObject"],
    "large": ["CreateMultipartUpload", "UploadPart 1", "UploadPart 2", "UploadPart 3", "CompleteMultipartUpload"],
}
MAKES_THE_OBJECT = {"PutObject", "CompleteMultipartUpload"}
FAULTS = [
    Fault.INTERNAL_ERROR,
    Fault.SLOW_DOWN,
    Fault.RESET,
    Fault.CUT_REQUEST,
    Fault.STALLED,
    Fault.RESPONSE_LOST,
    Fault.RESPONSE_TRUNCATED,
    Fault.RESPONSE_THEN_CUT,
    Fault.RESPONSE_STALLED,
]
OF_LOOKING = [Fault.INTERNAL_ERROR, Fault.RESET, Fault.STALLED, Fault.RESPONSE_LOST, Fault.RESPONSE_STALLED]
OF_UNDOING = [Fault.INTERNAL_ERROR, Fault.STALLED, Fault.RESPONSE_LOST]
STALLS = {Fault.STALLED, Fault.RESPONSE_STALLED}
"""If these last, a test takes several timeouts; `conftest` recognizes them by name and leaves them to `--all`."""
OF_CONDITIONAL = [Fault.CONFLICT]
OF_COMPLETE = [Fault.ERROR_IN_200, Fault.ERROR_IN_200_DONE]
DONE = {
    Fault.RESPONSE_LOST,
    Fault.RESPONSE_TRUNCATED,
    Fault.RESPONSE_THEN_CUT,
    Fault.RESPONSE_STALLED,
    Fault.ERROR_IN_200_DONE,
}
"""After these faults the store has performed the operation."""


@dataclass(frozen=True, slots=True)
class Case:
    """One call and its fault."""

    size: str
    call: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.size}: {self.call} {self.fault}"


REDUNDANT = {"UploadPart 1", "UploadPart 3"}
"""Writing these parts fails like writing the second."""
CASES = [
    pytest.param(Case(size, call, fault), marks=[pytest.mark.exhaustive] if call in REDUNDANT else [])
    for size, calls in POSITIONS.items()
    for call in calls
    for fault in FAULTS
    + (OF_CONDITIONAL if call in MAKES_THE_OBJECT else [])
    + (OF_COMPLETE if call == "CompleteMultipartUpload" else [])
]


def upload(faulty: Faulty, photo: bytes) -> httpx.Response:
    with faulty.service.client() as client:
        return post(client, photo=photo)


@pytest.mark.parametrize("size", PHOTOS)
def test_an_upload_makes_exactly_these_calls(faulty: Faulty, size: str) -> None:
    assert upload(faulty, PHOTOS[size]).status_code == 201
    assert sorted(faulty.store.script.calls) == sorted(POSITIONS[size])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_upload_survives_a_transient_fault(faulty: Faulty, case: Case) -> None:
    plan = Plan(call=case.call, fault=case.fault)
    faulty.store.script.follow(plan)

    response = upload(faulty, PHOTOS[case.size])

    assert plan.struck == 1
    assert response.status_code == 201, response.text
    assert faulty.in_accord()
    assert_stored(response.json(), PHOTOS[case.size], faulty.backstage)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case} for ever" if case.fault in STALLS else str(case))
def test_a_permanent_fault_leaves_nothing_unless_the_operation_was_performed(faulty: Faulty, case: Case) -> None:
    plan = Plan(call=case.call, fault=case.fault, forever=True)
    faulty.store.script.follow(plan)

    response = upload(faulty, PHOTOS[case.size])

    assert plan.struck >= 1
    if case.fault is Fault.RESPONSE_THEN_CUT or (case.call in MAKES_THE_OBJECT and case.fault in DONE):
        assert response.status_code == 201, response.text
        assert_stored(response.json(), PHOTOS[case.size], faulty.backstage)
        assert faulty.in_accord()
    else:
        assert_problem(response, 503, "storage-unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert faulty.nothing_is_left()


@pytest.mark.parametrize("fault", OF_LOOKING, ids=str)
@pytest.mark.parametrize("size", ["small", "large"])
def test_if_the_lookup_fails_too_the_object_is_deleted(faulty: Faulty, size: str, fault: Fault) -> None:
    """The outcome of the write is unknown then, so the client gets an error."""
    write = Plan(call=POSITIONS[size][-1], fault=Fault.RESPONSE_LOST, forever=True)
    look = Plan(call="HeadObject", fault=fault, forever=True)
    faulty.store.script.follow(write, look)

    response = upload(faulty, PHOTOS[size])

    assert look.struck >= 1
    assert_problem(response, 503, "storage-unavailable")
    assert faulty.nothing_is_left()


UNDOING = [
    ("large", Plan(call="UploadPart 2", fault=Fault.INTERNAL_ERROR, forever=True), "AbortMultipartUpload"),
    ("large", Plan(call="CreateMultipartUpload", fault=Fault.RESPONSE_LOST, forever=True), "ListMultipartUploads"),
    ("large", Plan(call="CreateMultipartUpload", fault=Fault.RESPONSE_LOST, forever=True), "AbortMultipartUpload"),
    ("small", Plan(call="PutObject", fault=Fault.INTERNAL_ERROR, forever=True), "DeleteObject"),
]


@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", OF_UNDOING, ids=str)
@pytest.mark.parametrize(("size", "first", "call"), UNDOING, ids=lambda value: getattr(value, "call", value))
def test_the_sweep_finds_what_cannot_be_undone(
    faulty: Faulty, size: str, first: Plan, call: str, fault: Fault, *, forever: bool
) -> None:
    undoing = Plan(call=call, fault=fault, forever=forever)
    faulty.store.script.follow(Plan(call=first.call, fault=first.fault, forever=True), undoing)

    response = upload(faulty, PHOTOS[size])

    assert_problem(response, 503, "storage-unavailable")
    assert undoing.reached.wait(60)
    if forever:
        assert faulty.undone_as_far_as_can_be()
        faulty.heal()
        swept(faulty.service.settings)
    assert faulty.nothing_is_left()
    assert not swept(faulty.service.settings, fix=False)


def test_a_late_write_overwrites_nothing(faulty: Faulty) -> None:
    late = Plan(call="PutObject", fault=Fault.LATE)
    faulty.store.script.follow(late)

    response = upload(faulty, SMALL)
    faulty.heal()

    assert response.status_code == 201, response.text
    assert faulty.in_accord()
    assert_stored(response.json(), SMALL, faulty.backstage)


def test_the_sweep_finds_a_late_write_that_arrives_after_the_cleanup(faulty: Faulty) -> None:
    late = Plan(call="PutObject", fault=Fault.LATE, forever=True)
    faulty.store.script.follow(late)

    response = upload(faulty, SMALL)
    assert_problem(response, 503, "storage-unavailable")
    faulty.heal()

    assert faulty.eventually_objects(1)
    assert swept(faulty.service.settings) == {"orphan": 1}
    assert faulty.nothing_is_left()
