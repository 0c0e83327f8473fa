"""Faults of the database: at every statement of an upload, with and without an idempotency key."""

from dataclasses import dataclass

import httpx
import pytest

from recipe_api.settings import PART_SIZE
from tests.faults.conftest import Faulty
from tests.support.calls import post
from tests.support.forms import jpeg
from tests.support.idempotency import key_of
from tests.support.problems import assert_problem
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.sweeping import swept
from tests.support.traces import eventually

SMALL, LARGE = jpeg(3000), jpeg(2 * PART_SIZE + 100_000)
PHOTOS = {"small": SMALL, "large": LARGE}

_CHECK = ["OTHER"]
"""The check of a pooled connection."""
PLAIN = ["ROW"]
KEYED = [*_CHECK, "BEGIN", "CLAIM", "COMMIT", "ROW AND KEY"]
FAULTS = [Fault.RESET, Fault.STALLED, Fault.RESPONSE_LOST, Fault.RESPONSE_STALLED]


@dataclass(frozen=True, slots=True)
class Position:
    """The nth statement of a kind."""

    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} {self.nth}"

    def plan(self, fault: Fault, *, forever: bool) -> Plan:
        return Plan(call=self.call, nth=self.nth, fault=fault, forever=forever)


def positions(statements: list[str]) -> list[Position]:
    return [Position(call, statements[: i + 1].count(call)) for i, call in enumerate(statements)]


def is_tolerated(fault: Fault, *, forever: bool) -> bool:
    """Return whether an upload without a key must succeed despite the fault."""
    # The statement is sent again, or a query shows that it has worked.
    return not forever or fault in {Fault.RESPONSE_LOST, Fault.RESPONSE_STALLED}


def upload(faulty: Faulty, photo: bytes = SMALL, *, key: str | None = None) -> httpx.Response:
    with faulty.service.client() as client:
        return post(client, photo=photo, headers={"Idempotency-Key": key_of(key)} if key else None)


def assert_unavailable(response: httpx.Response) -> None:
    """Assert a 503 with Retry-After."""
    codes = {"/problems/database-unavailable": "database-unavailable", "/problems/storage-unavailable": None}
    assert_problem(response, 503, codes[response.json()["type"]] or "storage-unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.fixture
def connected(faulty: Faulty) -> Faulty:
    """Prepare the statements on all connections."""
    faulty.database.cut_all()
    # Every connection of the pool, which are used in turn; twice, since the first use prepares the statements.
    for key in (
        *(f"to connect {number}" for number in range(3)),
        None,
        *(f"to prepare {number}" for number in range(3)),
    ):
        assert upload(faulty, key=key).status_code == 201
    faulty.backstage.clear()
    faulty.heal()
    return faulty


def test_an_upload_makes_exactly_these_statements(connected: Faulty) -> None:
    assert upload(connected).status_code == 201
    assert connected.database.script.calls == PLAIN
    connected.heal()
    assert upload(connected, key="one").status_code == 201
    assert connected.database.script.calls == KEYED


@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize(
    ("size", "position"),
    [(size, position) for size in PHOTOS for position in positions(PLAIN)],
    ids=str,
)
def test_at_any_failed_statement_object_and_row_both_exist_or_neither(
    connected: Faulty, size: str, position: Position, fault: Fault, *, forever: bool
) -> None:
    plan = position.plan(fault, forever=forever)
    connected.database.script.follow(plan)

    response = upload(connected, PHOTOS[size])

    assert plan.struck >= 1
    if response.status_code == 201:
        assert_stored(response.json(), PHOTOS[size], connected.backstage)
        assert connected.in_accord()
    else:
        assert_unavailable(response)
        assert connected.nothing_is_left()
    if is_tolerated(fault, forever=forever):
        assert response.status_code == 201, response.text


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.STALLED], ids=str)
@pytest.mark.parametrize("size", PHOTOS)
def test_without_any_connection_the_object_is_deleted(connected: Faulty, size: str, fault: Fault) -> None:
    connected.database.script.follow(Plan(call="CONNECT", fault=fault, forever=True))
    connected.database.cut_all()

    response = upload(connected, PHOTOS[size])

    assert_unavailable(response)
    assert connected.nothing_is_left()


@pytest.mark.parametrize(
    ("fault", "forever"),
    [(fault, False) for fault in FAULTS] + [(fault, True) for fault in (Fault.RESET, Fault.RESPONSE_LOST)],
    ids=lambda value: value if isinstance(value, Fault) else "for ever" if value else "once",
)
@pytest.mark.parametrize("position", positions(KEYED), ids=str)
def test_with_a_key_at_any_failed_statement_a_retry_results_in_one_row(
    connected: Faulty, position: Position, fault: Fault, *, forever: bool
) -> None:
    plan = position.plan(fault, forever=forever)
    connected.database.script.follow(plan)

    first = upload(connected, key="the same")

    assert plan.struck >= 1
    if first.status_code != 201:
        assert_unavailable(first)
    assert connected.undone_as_far_as_can_be()
    assert connected.in_accord()
    connected.heal()
    # A claim that could not be given up is lost after a while.
    assert eventually(lambda: upload(connected, key="the same").status_code == 201)
    again = upload(connected, key="the same")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert connected.in_accord()
    assert [str(row["id"]) for row in connected.backstage.rows()] == [again.json()["id"]]
    assert_stored(again.json(), SMALL, connected.backstage)
    if first.status_code == 201:
        assert first.json() == again.json()


@pytest.mark.parametrize("position", positions(KEYED), ids=str)
def test_a_claim_is_released_at_once_after_a_transient_fault(connected: Faulty, position: Position) -> None:
    connected.database.script.follow(position.plan(Fault.RESPONSE_LOST, forever=False))

    first = upload(connected, key="the same")
    again = upload(connected, key="the same")

    assert first.status_code in {201, 503}
    assert again.status_code == 201, again.text
    assert connected.in_accord()


@pytest.mark.parametrize(
    ("fault", "found"), [(Fault.RESET, {"orphan": 1}), (Fault.RESPONSE_LOST, {})], ids=["not committed", "committed"]
)
def test_the_sweep_settles_a_commit_whose_outcome_is_unknown(
    connected: Faulty, fault: Fault, found: dict[str, int]
) -> None:
    connected.database.script.follow(
        Plan(call="ROW", fault=fault),
        Plan(call="BEGIN", fault=Fault.RESET, forever=True),
        Plan(call="CONNECT", fault=Fault.RESET, forever=True),
    )

    response = upload(connected)

    assert_unavailable(response)
    assert len(connected.backstage.objects()) == 1
    connected.heal()
    assert swept(connected.service.settings) == found
    assert connected.in_accord()


@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("call", ["PROBE", "PREPARE PROBE"])
def test_a_commit_in_doubt_is_never_undone_blindly(
    connected: Faulty, call: str, fault: Fault, *, forever: bool
) -> None:
    """The row exists, and the first query for it fails."""
    look = Plan(call=call, fault=fault, forever=forever)
    connected.database.script.follow(Plan(call="ROW", fault=Fault.RESPONSE_LOST, forever=True), look)

    response = upload(connected)

    assert look.struck >= 1
    if response.status_code != 201:
        assert_unavailable(response)
    assert len(connected.backstage.rows()) == 1
    connected.heal()
    assert connected.in_accord()
    assert not swept(connected.service.settings)


def test_a_commit_that_the_server_rejects_leaves_nothing(connected: Faulty) -> None:
    backstage = connected.backstage
    backstage.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$"
    )
    backstage.sql(
        "CREATE CONSTRAINT TRIGGER refusal AFTER INSERT ON recipe DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        response = upload(connected)
    finally:
        backstage.sql("DROP TRIGGER refusal ON recipe")
        backstage.sql("DROP FUNCTION refuse")

    assert_unavailable(response)
    assert connected.nothing_is_left()
