"""The limits on concurrent uploads: one too many is rejected at once, before its body has been sent."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.errors import ServiceFull, TooManyRequests
from recipe_api.units import KIB, MIB
from recipe_api.uploads.admission import Admission, ClientContext
from tests.support.calls import post
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.idempotency import key_of
from tests.support.problems import assert_problem
from tests.support.service import API_TOKEN, Service
from tests.support.traces import Backstage, eventually
from tests.support.wire import request

BODY = recipe_form(jpeg(20_000))
Start = Callable[..., Service]


ANYBODY = ClientContext()


@dataclass
class Paced:
    """A body that arrives at a given speed."""

    bytes_per_second: float
    is_slow: bool = True
    received: int = 0
    is_given_up: bool = False

    def give_up(self) -> None:
        self.is_given_up = True


def admit(stack: ExitStack, admission: Admission, *contexts: ClientContext) -> None:
    for client in contexts:
        stack.enter_context(admission.slot(client))


def test_admits_uploads_up_to_the_limit() -> None:
    admission = Admission(2, per_client=2)
    with admission.slot(ANYBODY):
        with (
            admission.slot(ANYBODY),
            pytest.raises(ServiceFull, match="2 uploads are already in progress"),
            admission.slot(ANYBODY),
        ):
            pytest.fail("a third upload was admitted")
        with admission.slot(ANYBODY):
            pass


def test_an_upload_that_fails_releases_its_slot() -> None:
    admission = Admission(1, per_client=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission.slot(ANYBODY):
            raise ZeroDivisionError


async def test_idle_returns_when_the_last_upload_has_ended() -> None:
    admission = Admission(2, per_client=2)
    await admission.idle()
    with admission.slot(ANYBODY):
        with admission.slot(ANYBODY):
            pass
        idle = asyncio.create_task(admission.idle())
        await asyncio.sleep(0)  # for the task to start
        assert not idle.done()
    await idle


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([(), ("one",), ("other",)]), st.booleans()), max_size=60
    )
)
def test_no_address_and_no_token_exceeds_its_limit(steps: list[tuple[str, tuple[str, ...], bool]]) -> None:
    admission = Admission(8, per_client=3)
    held: list[tuple[tuple[str, ...], ExitStack]] = []
    for address, tokens, is_end in steps:
        if is_end and held:
            held.pop(0)[1].close()
            continue
        client, stack = ClientContext(identities=(address, *tokens)), ExitStack()
        counts = [sum(identity in identities for identities, _ in held) for identity in client.identities]
        if max(counts) == 3 or len(held) == 8:
            with pytest.raises(TooManyRequests if max(counts) == 3 else ServiceFull):
                admit(stack, admission, client)
        else:
            admit(stack, admission, client)
            held.append((client.identities, stack))


def test_a_new_upload_replaces_the_slowest_when_the_process_is_full() -> None:
    admission = Admission(4, per_client=4)
    paces = [Paced(1, is_slow=False), Paced(30), Paced(20), Paced(40)]
    with ExitStack() as stack:
        admit(stack, admission, *(ClientContext(arrival=pace) for pace in paces))
        admit(stack, admission, ANYBODY)

        assert [pace.is_given_up for pace in paces] == [False, False, True, False]


def test_an_upload_that_was_given_up_releases_its_slot_once() -> None:
    admission = Admission(3, per_client=2)
    client = ClientContext(identities=("a",))
    with ExitStack() as stack:
        with ExitStack() as given_up:
            admit(given_up, admission, ClientContext(arrival=Paced(1), identities=("a",)))
            with ExitStack() as others:
                admit(others, admission, ANYBODY, ANYBODY, ANYBODY)
            admit(stack, admission, client, client)
        with pytest.raises(TooManyRequests):
            admit(stack, admission, client)
        admit(stack, admission, ANYBODY)
        with pytest.raises(ServiceFull):
            admit(stack, admission, ANYBODY)


def claimed(backstage: Backstage, key: str) -> bool:
    """Return whether an upload with this idempotency key is in progress."""
    return bool(backstage.sql("SELECT FROM idempotency_key WHERE key = $1", key_of(key)))


def test_an_upload_too_many_is_rejected_before_it_sends_its_body(start_service: Start, backstage: Backstage) -> None:
    service = start_service(MAX_CONCURRENT_UPLOADS="1")
    with service.connect() as first, service.connect() as second:
        first.send(request("/recipe", BODY[:10_000], HEADER, f"Idempotency-Key: {key_of('first')}", length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "first"))

        second.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=len(BODY)))
        response = second.read()
        assert_problem(response, 503, "service-full")
        assert int(response.headers["Retry-After"]) > 0

        first.send(BODY[10_000:])
        assert first.read().status == 201
    with service.client() as client:
        assert post(client).status_code == 201
    assert len(backstage.objects()) == len(backstage.rows()) == 2


def test_other_requests_succeed_while_the_service_is_full_of_uploads(
    start_service: Start, backstage: Backstage
) -> None:
    service = start_service(MAX_CONCURRENT_UPLOADS="1")
    with service.connect() as first, service.client() as client:
        first.send(request("/recipe", BODY[:10_000], HEADER, f"Idempotency-Key: {key_of('first')}", length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "first"))

        assert client.get("/recipe").status_code == 200
        assert client.get("/healthz").status_code == 200


def test_an_upload_gets_503_while_the_database_is_busy_with_another_row(
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
            backstage.sql("LOCK TABLE recipe IN SHARE MODE")  # others can read
            busy = pool.submit(upload)
            assert eventually(lambda: len(backstage.sql(waiting)) == 1)
            with service.client() as client:
                response = post(client)
        finally:
            backstage.sql("COMMIT")
        assert busy.result() == 201

    assert_problem(response, 503, "database-unavailable")
    assert response.headers["Retry-After"]
    assert eventually(lambda: len(backstage.objects()) == len(backstage.rows()) == 1)


def test_a_client_at_its_limit_is_rejected_before_it_sends_its_body(start_service: Start, backstage: Backstage) -> None:
    service = start_service(MAX_CONCURRENT_UPLOADS="4", MAX_UPLOADS_PER_CLIENT="1")
    with service.connect() as first, service.connect() as second:
        first.send(request("/recipe", BODY[:10_000], HEADER, f"Idempotency-Key: {key_of('first')}", length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "first"))

        second.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=len(BODY)))
        response = second.read()
        assert_problem(response, 429, "too-many-requests")
        assert int(response.headers["Retry-After"]) > 0

        with service.client() as other:  # behind the proxy of this address, which is trusted
            assert post(other, headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 201
        first.send(BODY[10_000:])
        assert first.read().status == 201
    with service.client() as client:
        assert post(client).status_code == 201


def test_the_limit_of_a_token_applies_across_addresses(start_service: Start, backstage: Backstage) -> None:
    tokens = f"one:{API_TOKEN},other:{API_TOKEN}-2"
    service = start_service(
        MAX_CONCURRENT_UPLOADS="4", MAX_UPLOADS_PER_CLIENT="1", API_TOKENS=tokens, ALLOW_INSECURE_TOKENS="true"
    )
    other_address = {"X-Forwarded-For": "192.0.2.7"}
    with service.connect() as first, service.client(API_TOKEN) as second, service.client(f"{API_TOKEN}-2") as other:
        one = [f"Authorization: Bearer {API_TOKEN}", f"Idempotency-Key: {key_of('first')}"]
        first.send(request("/recipe", BODY[:10_000], HEADER, *one, length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "first"))

        assert post(second, headers=other_address).status_code == 429
        assert post(other).status_code == 429  # because of its address
        assert post(other, headers=other_address).status_code == 201
        first.send(BODY[10_000:])
        assert first.read().status == 201


def test_a_new_upload_replaces_a_slow_one_when_the_service_is_full(
    start_service: Start, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipe_api.composition.SLOW_SECONDS", 0.2)
    service = start_service(MAX_CONCURRENT_UPLOADS="1", BODY_IDLE_SECONDS="60")
    with service.connect() as trickling, service.client() as client:
        trickling.send(request("/recipe", BODY[:50], HEADER, f"Idempotency-Key: {key_of('one')}", length=len(BODY)))
        assert eventually(lambda: claimed(backstage, "one"))

        assert eventually(lambda: post(client).status_code == 201)
        assert "slowest" in assert_problem(trickling.read(), 408, "body-stalled")["detail"]
    assert eventually(lambda: len(backstage.objects()) == len(backstage.rows()) == 1)


@pytest.mark.parametrize(("addresses", "slow_seconds"), [(1, 60), (24, 0.2)])
def test_trickling_uploads_do_not_keep_the_memory_from_others(
    start_service: Start, backstage: Backstage, monkeypatch: pytest.MonkeyPatch, addresses: int, slow_seconds: float
) -> None:
    monkeypatch.setattr("recipe_api.composition.SLOW_SECONDS", slow_seconds)
    service = start_service(
        UPLOAD_BUFFER_BYTES=f"{10 * MIB}",
        MAX_CONCURRENT_UPLOADS="100",
        MAX_UPLOADS_PER_CLIENT=f"{24 // addresses}",
        BODY_IDLE_SECONDS="60",
    )
    with ExitStack() as stack, service.client() as client:
        trickling = [stack.enter_context(service.connect()) for _ in range(24)]
        for number, wire in enumerate(trickling):
            headers = [f"Idempotency-Key: {key_of(f'{number}')}", f"X-Forwarded-For: 198.51.100.{number % addresses}"]
            wire.send(request("/recipe", BODY[:500], HEADER, *headers, length=512 * KIB))
        assert eventually(lambda: all(claimed(backstage, f"{number}") for number in range(24)))

        assert post(client).status_code == 201  # in less than the 20 s for which it waits for memory
    assert eventually(lambda: len(backstage.objects()) == len(backstage.rows()) == 1)
