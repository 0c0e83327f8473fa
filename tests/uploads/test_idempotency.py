"""Idempotency keys: an upload that is sent again makes no second recipe, on any dyno and after any failure."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe_api.database.idempotency import Claim, IdempotencyKeys
from recipe_api.errors import DatabaseUnavailable
from recipe_api.undo import Undo
from recipe_api.uploads.fingerprint import Fingerprint
from recipe_api.uploads.idempotency import Attempt, UploadKey, attempt, is_unguessable
from tests.support.calls import PHOTO, post
from tests.support.forms import CONTENT_TYPE, HEADER, file_part, form, jpeg, recipe_form, text_part
from tests.support.idempotency import key_of
from tests.support.log import lines_logged
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import API_TOKEN, Service, bearer
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

KEY = "3f0c7a5e-90c5-4b7e-8f5a-6a1d2c3b4e5f"
BODY = recipe_form(jpeg(20_000))
Start = Callable[..., Service]


def send(
    service: Service, *, key: str = KEY, label: str = "Pancakes", photo: bytes = PHOTO, body: bytes | None = None
) -> httpx.Response:
    """Send an upload with a key; `body` replaces the form."""
    content = recipe_form(photo, label=label) if body is None else body
    with service.client() as client:
        return client.post("/recipe", content=content, headers={"Content-Type": CONTENT_TYPE, "Idempotency-Key": key})


def is_replayed(response: httpx.Response) -> bool:
    return bool(response.headers.get("Idempotency-Replayed") == "true")


def keys(backstage: Backstage) -> list[dict[str, Any]]:
    return [dict(record) for record in backstage.sql("SELECT * FROM idempotency_key")]


@contextmanager
def in_progress(service: Service, backstage: Backstage, *, key: str = KEY) -> Iterator[Wire]:
    """Start an upload whose key is claimed; the rest of its body is `BODY[10_000:]`."""
    with service.connect() as wire:
        wire.send(request("/recipe", BODY[:10_000], HEADER, f"Idempotency-Key: {key}", length=len(BODY)))
        assert eventually(lambda: bool(keys(backstage)))
        yield wire


def test_the_same_upload_gets_the_same_response_and_no_second_recipe(service: Service, backstage: Backstage) -> None:
    first, second, third = (send(service) for _ in range(3))

    assert first.status_code == second.status_code == third.status_code == 201
    assert [is_replayed(response) for response in (first, second, third)] == [False, True, True]
    assert first.json() == second.json() == third.json()
    assert first.headers["Location"] == second.headers["Location"]
    assert len(backstage.objects()) == len(backstage.rows()) == 1
    assert_stored(second.json(), PHOTO, backstage)


def test_the_order_of_fields_and_the_file_name_may_differ(service: Service, backstage: Backstage) -> None:
    label, photo = text_part("Pancakes"), file_part(PHOTO, filename="copy.jpg")
    more = text_part("2", name="attempt")

    first = send(service)
    second = send(service, body=form(photo, more, label))

    assert is_replayed(second)
    assert second.json() == first.json()
    assert len(backstage.rows()) == 1


@pytest.mark.parametrize("other", [{"label": "Waffles"}, {"photo": jpeg(500, seed=2)}, {"photo": PHOTO[:-1]}])
def test_another_upload_with_the_same_key_is_rejected(
    service: Service, backstage: Backstage, other: dict[str, Any]
) -> None:
    first = send(service)

    assert_problem(send(service, **other), 422, "idempotency-key-reused")

    assert len(backstage.objects()) == len(backstage.rows()) == 1
    assert send(service).json() == first.json()


def test_an_invalid_form_is_not_a_replay(service: Service, backstage: Backstage) -> None:
    send(service)

    assert_problem(send(service, body=form(file_part(PHOTO))), 422, "field-missing", field="label")
    assert_problem(send(service, body=recipe_form(PHOTO)[:-10]), 400, "malformed-body")
    assert len(backstage.rows()) == 1


def test_without_a_key_every_upload_makes_a_new_recipe(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        responses = [post(client) for _ in range(2)]

    assert len({response.json()["id"] for response in responses}) == 2
    assert keys(backstage) == []


def test_an_upload_is_rejected_while_the_first_is_in_progress(service: Service, backstage: Backstage) -> None:
    with in_progress(service, backstage) as wire:
        assert_problem(send(service, body=BODY), 409, "idempotency-key-in-use")
        assert send(service, key=key_of("another")).status_code == 201
        wire.send(BODY[10_000:])
        first = wire.read()

    assert first.status == 201
    assert send(service, body=BODY).json() == first.json()
    assert len(backstage.rows()) == 2


def test_only_one_of_two_racing_dynos_makes_the_recipe(
    service: Service, start_service: Start, backstage: Backstage
) -> None:
    dynos = [service, start_service()]
    for number in range(20):
        together = Barrier(2)

        def race(dyno: Service, *, key: str = key_of(f"race-{number}"), together: Barrier = together) -> httpx.Response:
            with dyno.client() as client:
                client.get("/healthz")  # connected
                together.wait()
                return post(client, headers={"Idempotency-Key": key})

        with ThreadPoolExecutor(2) as pool:
            responses = list(pool.map(race, dynos))
        made = [response for response in responses if response.status_code == 201 and not is_replayed(response)]
        assert len(made) == 1
        for response in responses:
            assert response.status_code in {201, 409}
            if response.status_code == 201:
                assert response.json() == made[0].json()

    assert eventually(lambda: len(backstage.objects()) == 20)
    assert len(backstage.rows()) == len(keys(backstage)) == 20


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (recipe_form(b"<svg/>" + bytes(300)), 415, "unsupported-photo", "photo"),
        (recipe_form(PHOTO, label=""), 422, "field-empty", "label"),
        (recipe_form(PHOTO)[:-10], 400, "malformed-body", None),
    ],
)
def test_an_upload_that_failed_can_be_retried_at_once(
    service: Service, backstage: Backstage, body: bytes, status: int, code: str, field: str | None
) -> None:
    assert_problem(send(service, body=body), status, code, field=field)
    assert keys(backstage) == []

    response = send(service)

    assert response.status_code == 201
    assert not is_replayed(response)


def test_a_client_that_disconnected_can_retry(service: Service, backstage: Backstage) -> None:
    with in_progress(service, backstage):
        pass

    assert eventually(lambda: keys(backstage) == [])
    assert send(service).status_code == 201
    assert len(backstage.objects()) == len(backstage.rows()) == 1


def test_an_expired_key_can_be_used_again(service: Service, backstage: Backstage) -> None:
    first = send(service)
    backstage.sql("UPDATE idempotency_key SET expires_at = now() - interval '1 second'")

    second = send(service, label="Waffles")

    assert second.status_code == 201
    assert not is_replayed(second)
    assert second.json()["id"] != first.json()["id"]
    assert is_replayed(send(service, label="Waffles"))
    assert len(backstage.rows()) == 2


@pytest.mark.parametrize(("left", "status"), [("-1 second", 201), ("1 hour", 409)], ids=["lapsed", "still valid"])
def test_the_claim_of_a_process_that_died_expires(
    service: Service, backstage: Backstage, left: str, status: int
) -> None:
    backstage.sql(
        "INSERT INTO idempotency_key (scope, key, claim, claimed_until, expires_at)"
        " VALUES ('', $1, gen_random_uuid(), now() + $2::text::interval, now() + interval '1 day')",
        KEY,
        left,
    )

    assert send(service).status_code == status


def test_an_upload_that_lost_its_claim_leaves_nothing(service: Service, backstage: Backstage) -> None:
    with in_progress(service, backstage) as wire:
        backstage.sql("UPDATE idempotency_key SET claim = gen_random_uuid()")  # as another request does that takes over
        (taken,) = keys(backstage)
        wire.send(BODY[10_000:])
        assert_problem(wire.read(), 409, "idempotency-key-in-use")

    assert eventually(lambda: backstage.objects() == [])
    assert backstage.rows() == []
    assert [row["claim"] for row in keys(backstage)] == [taken["claim"]]  # unchanged


def test_each_token_has_its_own_keys(start_service: Start, backstage: Backstage) -> None:
    tokens = {"app": "token-of-the-app-00", "importer": "token-of-the-importer"}
    service = start_service(API_TOKENS=",".join(f"{name}:{token}" for name, token in tokens.items()))

    responses = {}
    for name, token in tokens.items():
        with service.client() as client:
            headers = bearer(token) | {"Idempotency-Key": KEY}
            responses[name] = [post(client, label=name, headers=headers) for _ in range(2)]

    for first, second in responses.values():
        assert first.status_code == second.status_code == 201
        assert not is_replayed(first)
        assert is_replayed(second)
    assert sorted((row["scope"], row["key"]) for row in keys(backstage)) == [("app", KEY), ("importer", KEY)]
    assert len(backstage.rows()) == 2


def test_deleting_a_recipe_deletes_its_key(service: Service, backstage: Backstage) -> None:
    first = send(service).json()
    with service.client(first["manage_token"]) as client:
        assert client.delete(f"/recipe/{first['id']}").status_code == 204
    assert keys(backstage) == []

    second = send(service)

    assert not is_replayed(second)
    assert_stored(second.json(), PHOTO, backstage)
    assert len(backstage.rows()) == 1


def test_a_replay_does_not_return_a_recipe_that_was_deleted_meanwhile(service: Service, backstage: Backstage) -> None:
    whole = request("/recipe", BODY, HEADER, f"Idempotency-Key: {KEY}")
    with service.connect() as wire:
        wire.send(whole)
        first = wire.read().json()
    with service.connect() as wire, service.client(first["manage_token"]) as client:
        wire.send(whole[:-100])
        assert client.delete(f"/recipe/{first['id']}").status_code == 204
        wire.send(whole[-100:])
        response = wire.read()

    assert response.status in {201, 404}  # depending on whether its key was looked up before or after
    assert len(backstage.rows()) == len(backstage.objects()) == (response.status == 201)


def test_two_keys_are_rejected(service: Service, backstage: Backstage) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", BODY, HEADER, "Idempotency-Key: one", "Idempotency-Key: other"))
        response = wire.read()

    assert_problem(response, 422, "invalid-parameter", field="Idempotency-Key")
    assert backstage.nothing_is_left()


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"], ids=["empty", "too long", "not ASCII", "a tab"])
def test_an_invalid_key_is_rejected(service: Service, backstage: Backstage, key: str) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", BODY, HEADER, f"Idempotency-Key: {key}"))
        response = wire.read()

    assert_problem(response, 422, "invalid-parameter", field="Idempotency-Key")
    assert backstage.nothing_is_left()


@pytest.mark.parametrize("key", ["x", "breakfast-1", "x" * 255, "with spaces, commas; and 'quotes'"])
def test_a_key_may_be_any_text_with_an_api_token_that_manages_everything(start_service: Start, key: str) -> None:
    with start_service(API_TOKENS=f"tests:{API_TOKEN}").client(API_TOKEN) as client:
        first, second = (post(client, headers={"Idempotency-Key": key}) for _ in range(2))

    assert (is_replayed(first), is_replayed(second)) == (False, True)
    assert second.json()["manage_token"] == first.json()["manage_token"]


class TestAKeyThatCanBeGuessed:
    @pytest.mark.parametrize("used", ["breakfast-1", "breakfast-2"], ids=["in use", "unused"])
    def test_is_rejected_without_an_api_token_whether_it_is_in_use_or_not(
        self, service: Service, backstage: Backstage, used: str
    ) -> None:
        """Otherwise another anonymous client could get the manage token with it, or learn that the key is in use."""
        backstage.sql(
            "INSERT INTO idempotency_key (scope, key, claim, claimed_until, expires_at)"
            " VALUES ('', $1, gen_random_uuid(), now() + interval '1 hour', now() + interval '1 day')",
            used,
        )

        problem = assert_problem(send(service, key="breakfast-1"), 422, "invalid-parameter", field="Idempotency-Key")

        assert "Send a random UUID" in problem["detail"]
        assert "breakfast-1" not in problem["detail"]
        assert backstage.objects() == []

    def test_is_rejected_with_a_token_for_uploads_only_which_a_public_page_may_contain(
        self, start_service: Start, backstage: Backstage
    ) -> None:
        service = start_service(API_TOKENS=f"page:{API_TOKEN}:upload")
        with service.client(API_TOKEN) as client:
            weak, strong = (post(client, headers={"Idempotency-Key": key}) for key in ("breakfast-1", KEY))

        assert_problem(weak, 422, "invalid-parameter", field="Idempotency-Key")
        assert strong.status_code == 201
        assert len(backstage.rows()) == 1


RANDOM_BITS = st.binary(min_size=16, max_size=64).filter(lambda bits: len(set(bits.hex())) >= 6)


@given(
    st.uuids(version=4).map(str)
    | st.uuids(version=4).map(lambda key: str(key).upper())
    | st.just("01936f2a-7b1c-7d5e-9a3b-2c4d6e8f0a1b")  # version 7
    | RANDOM_BITS.map(bytes.hex)
    | st.randoms(use_true_random=True).map(lambda chance: f"aB{urlsafe_b64encode(chance.randbytes(16)).decode()[:22]}")
)
def test_uuids_hexadecimal_digits_and_base64_of_128_bits_are_unguessable(key: str) -> None:
    assert is_unguessable(key)


@pytest.mark.parametrize(
    "key",
    [
        "breakfast-1",
        "order-2026-11-29-0001-0000000001",
        "a-key-of-some-length-in-lower-case",
        "f47ac10b58cc4372a5670e02b2c3d47",  # 31 hexadecimal digits
        "0" * 32,
        "00000000-0000-0000-0000-000000000000",
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",  # version 1: the time, and the address of a network card
        "5df41881-3aed-3515-88a7-2f4a814cf09e",  # version 3, from a name
        "2ed6657d-e927-568b-95e1-2665a8aea6a2",  # version 5, likewise
        "AbababababABABABABABababababab",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479 ",
        "Breakfast for the whole family, number 1",
    ],
)
def test_names_numbers_times_and_repetitions_are_guessable(key: str) -> None:
    assert not is_unguessable(key)


def test_a_request_renews_its_claim_while_it_works(
    start_service: Start, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("recipe_api.uploads.idempotency", "recipe_api.database.idempotency"):
        monkeypatch.setattr(f"{module}.CLAIM_SECONDS", 3)
    service = start_service()
    with in_progress(service, backstage) as wire:
        seen = [keys(backstage)[0]["claimed_until"]]
        for _ in range(2):
            assert eventually(lambda: keys(backstage)[0]["claimed_until"] > seen[-1])
            seen.append(keys(backstage)[0]["claimed_until"])
        wire.send(BODY[10_000:])
        assert wire.read().status == 201

    assert is_replayed(send(service, body=BODY))


class Unreliable:
    """Keys in a database that fails every other renewal."""

    compares_uploads = True

    def __init__(self) -> None:
        self.renewals = 0
        self.renewed_again = asyncio.Event()
        self.released = False

    async def claim(self, scope: str, key: str) -> Claim:
        return Claim(scope, key, uuid4())

    async def renew(self, claim: Claim) -> None:  # noqa: ARG002 - the real signature
        self.renewals += 1
        if self.renewals == 3:
            self.renewed_again.set()
        if self.renewals % 2:
            raise DatabaseUnavailable("The database is unavailable.")

    async def release(self, claim: Claim) -> None:  # noqa: ARG002 - the real signature
        self.released = True


@pytest.mark.usefixtures("service")  # configures the log
async def test_a_renewal_that_fails_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipe_api.uploads.idempotency.CLAIM_SECONDS", 0.01)
    unreliable = Unreliable()
    with lines_logged() as lines:
        async with attempt(cast("IdempotencyKeys", unreliable), UploadKey("", KEY), undo=Undo()) as begun:
            assert isinstance(begun, Attempt)
            await unreliable.renewed_again.wait()

    assert lines.events("could not renew the claim on an upload; retrying")
    assert not unreliable.released


async def test_a_cancelled_attempt_releases_its_claim() -> None:
    unreliable = Unreliable()
    with pytest.raises(asyncio.CancelledError):
        async with attempt(cast("IdempotencyKeys", unreliable), UploadKey("", KEY), undo=Undo()):
            raise asyncio.CancelledError

    assert unreliable.released


def test_a_fingerprint_depends_only_on_the_label_and_the_photo() -> None:
    def digest(label: str, *pieces: bytes) -> bytes:
        fingerprint = Fingerprint()
        for piece in pieces:
            fingerprint.update(piece)
        return fingerprint.digest(label)

    assert digest("a", b"bc") == digest("a", b"b", b"c")
    assert len({digest("a", b"bc"), digest("ab", b"c"), digest("", b"abc"), digest("abc"), digest("b", b"bc")}) == 5
