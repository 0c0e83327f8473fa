"""A process takes on so many uploads and no more: who is one too many is told at once, before it has sent anything."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from recipe_api.errors import ServiceFull
from recipe_api.uploads.admission import Admission
from tests.support.calls import post
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.traces import Backstage, eventually
from tests.support.wire import request

BODY = recipe_form(jpeg(20_000))
Start = Callable[..., Service]


def test_so_many_are_let_in_and_no_more() -> None:
    admission = Admission(2)
    with admission:
        with admission, pytest.raises(ServiceFull, match="2 uploads are under way"), admission:
            pytest.fail("a third was let in")
        with admission:
            pass


def test_an_upload_that_fails_makes_room() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission:
            raise ZeroDivisionError


async def test_idle_is_when_the_last_has_ended() -> None:
    admission = Admission(2)
    await admission.idle()
    with admission:
        with admission:
            pass
        assert not admission._idle.is_set()
    await admission.idle()


def claimed(backstage: Backstage, key: str) -> bool:
    """Whether an upload with this idempotency key is under way, so that one surely is."""
    return bool(backstage.sql("SELECT FROM idempotency_key WHERE key = $1", key))


def test_one_too_many_is_told_before_it_sends_its_body(start_service: Start, backstage: Backstage) -> None:
    service = start_service(MAX_CONCURRENT_UPLOADS="1")
    with service.connect() as first, service.connect() as second:
        first.send(request("/recipe", BODY[:10_000], HEADER, "Idempotency-Key: first", length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "first"))

        second.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=len(BODY)))
        answer = second.read()
        assert_problem(answer, 503, "service-full")
        assert int(answer.headers["Retry-After"]) > 0

        first.send(BODY[10_000:])
        assert first.read().status == 201
    with service.client() as client:
        assert post(client).status_code == 201
    assert len(backstage.objects()) == len(backstage.rows()) == 2


def test_reading_goes_on_while_the_service_is_full_of_uploads(start_service: Start, backstage: Backstage) -> None:
    service = start_service(MAX_CONCURRENT_UPLOADS="1")
    with service.connect() as first, service.client() as client:
        first.send(request("/recipe", BODY[:10_000], HEADER, "Idempotency-Key: first", length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "first"))

        assert client.get("/recipe").status_code == 200
        assert client.get("/healthz").status_code == 200


def test_where_the_database_is_busy_with_a_row_the_next_is_told_so(
    start_service: Start, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipe_api.database.group_commit.WAIT_SECONDS", 0.5)
    service = start_service(DATABASE_POOL_SIZE="2")
    waiting = "SELECT FROM pg_locks WHERE NOT granted"

    def upload() -> int:
        with service.client() as client:
            return post(client).status_code

    with ThreadPoolExecutor(1) as pool:
        backstage.sql("BEGIN")
        try:
            backstage.sql("LOCK TABLE recipe")
            busy = pool.submit(upload)
            assert eventually(lambda: len(backstage.sql(waiting)) == 1)
            with service.client() as client:
                answer = post(client)
        finally:
            backstage.sql("COMMIT")
        assert busy.result() == 201

    assert_problem(answer, 503, "database-unavailable")
    assert answer.headers["Retry-After"]
    assert eventually(lambda: len(backstage.objects()) == len(backstage.rows()) == 1)
