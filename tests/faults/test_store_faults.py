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
    Fault.ANSWER_LOST,
    Fault.ANSWER_TRUNCATED,
    Fault.ANSWER_THEN_CUT,
    Fault.ANSWER_STALLED,
]
OF_LOOKING = [Fault.INTERNAL_ERROR, Fault.RESET, Fault.STALLED, Fault.ANSWER_LOST, Fault.ANSWER_STALLED]
OF_UNDOING = [Fault.INTERNAL_ERROR, Fault.STALLED, Fault.ANSWER_LOST]
OF_CONDITIONAL = [Fault.CONFLICT]
OF_COMPLETE = [Fault.ERROR_IN_200, Fault.ERROR_IN_200_DONE]
DONE = {
    Fault.ANSWER_LOST,
    Fault.ANSWER_TRUNCATED,
    Fault.ANSWER_THEN_CUT,
    Fault.ANSWER_STALLED,
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


CASES = [
    Case(size, call, fault)
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

    answer = upload(faulty, PHOTOS[case.size])

    assert plan.struck == 1
    assert answer.status_code == 201, answer.text
    assert faulty.in_accord()
    assert_stored(answer.json(), PHOTOS[case.size], faulty.backstage)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_permanent_fault_leaves_nothing_unless_the_operation_was_performed(faulty: Faulty, case: Case) -> None:
    plan = Plan(call=case.call, fault=case.fault, for_ever=True)
    faulty.store.script.follow(plan)

    answer = upload(faulty, PHOTOS[case.size])

    assert plan.struck >= 1
    if case.fault is Fault.ANSWER_THEN_CUT or (case.call in MAKES_THE_OBJECT and case.fault in DONE):
        assert answer.status_code == 201, answer.text
        assert_stored(answer.json(), PHOTOS[case.size], faulty.backstage)
        assert faulty.in_accord()
    else:
        assert_problem(answer, 503, "storage-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert faulty.nothing_is_left()


@pytest.mark.parametrize("fault", OF_LOOKING, ids=str)
@pytest.mark.parametrize("size", ["small", "large"])
def test_if_the_lookup_fails_too_the_object_is_deleted(faulty: Faulty, size: str, fault: Fault) -> None:
    """The outcome of the write is unknown then, so the client gets an error."""
    write = Plan(call=POSITIONS[size][-1], fault=Fault.ANSWER_LOST, for_ever=True)
    look = Plan(call="HeadObject", fault=fault, for_ever=True)
    faulty.store.script.follow(write, look)

    answer = upload(faulty, PHOTOS[size])

    assert look.struck >= 1
    assert_problem(answer, 503, "storage-unavailable")
    assert faulty.nothing_is_left()


UNDOING = [
    ("large", Plan(call="UploadPart 2", fault=Fault.INTERNAL_ERROR, for_ever=True), "AbortMultipartUpload"),
    ("large", Plan(call="CreateMultipartUpload", fault=Fault.ANSWER_LOST, for_ever=True), "ListMultipartUploads"),
    ("large", Plan(call="CreateMultipartUpload", fault=Fault.ANSWER_LOST, for_ever=True), "AbortMultipartUpload"),
    ("small", Plan(call="PutObject", fault=Fault.INTERNAL_ERROR, for_ever=True), "DeleteObject"),
]


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", OF_UNDOING, ids=str)
@pytest.mark.parametrize(("size", "first", "call"), UNDOING, ids=lambda value: getattr(value, "call", value))
def test_the_sweep_finds_what_cannot_be_undone(
    faulty: Faulty, size: str, first: Plan, call: str, fault: Fault, *, for_ever: bool
) -> None:
    undoing = Plan(call=call, fault=fault, for_ever=for_ever)
    faulty.store.script.follow(Plan(call=first.call, fault=first.fault, for_ever=True), undoing)

    answer = upload(faulty, PHOTOS[size])

    assert_problem(answer, 503, "storage-unavailable")
    assert undoing.reached.wait(20)
    if for_ever:
        assert faulty.undone_as_far_as_can_be()
        faulty.heal()
        swept(faulty.service.settings)
    assert faulty.nothing_is_left()
    assert not swept(faulty.service.settings, fix=False)


def test_a_late_write_overwrites_nothing(faulty: Faulty) -> None:
    late = Plan(call="PutObject", fault=Fault.LATE)
    faulty.store.script.follow(late)

    answer = upload(faulty, SMALL)
    faulty.heal()

    assert answer.status_code == 201, answer.text
    assert faulty.in_accord()
    assert_stored(answer.json(), SMALL, faulty.backstage)


def test_the_sweep_finds_a_late_write_that_arrives_after_the_cleanup(faulty: Faulty) -> None:
    late = Plan(call="PutObject", fault=Fault.LATE, for_ever=True)
    faulty.store.script.follow(late)

    answer = upload(faulty, SMALL)
    assert_problem(answer, 503, "storage-unavailable")
    faulty.heal()

    assert faulty.eventually_objects(1)
    assert swept(faulty.service.settings) == {"orphan": 1}
    assert faulty.nothing_is_left()
