"""One upload for one `Idempotency-Key`, however often it is sent, wherever, and whatever became of the first."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from recipe_api.database.idempotency import Claim, IdempotencyKeys
from recipe_api.errors import DatabaseUnavailable
from recipe_api.undo import Undo
from recipe_api.uploads.idempotency import Attempt, Fingerprint, UploadKey, attempt
from tests.support.calls import PHOTO, post
from tests.support.forms import CONTENT_TYPE, HEADER, file_part, form, jpeg, recipe_form, text_part
from tests.support.log import lines_logged
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import Service, bearer
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

KEY = "3f0c7a5e"
BODY = recipe_form(jpeg(20_000))
Start = Callable[..., Service]


def send(
    service: Service, *, key: str = KEY, label: str = "Pancakes", photo: bytes = PHOTO, body: bytes | None = None
) -> httpx.Response:
    """An upload with a key; `body` is for a form of another kind."""
    content = recipe_form(photo, label=label) if body is None else body
    with service.client() as client:
        return client.post("/recipe", content=content, headers={"Content-Type": CONTENT_TYPE, "Idempotency-Key": key})


def is_replayed(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("Idempotency-Replayed") == "true")


def keys(backstage: Backstage) -> list[dict[str, Any]]:
    return [dict(record) for record in backstage.sql("SELECT * FROM idempotency_key")]


@contextmanager
def under_way(service: Service, backstage: Backstage, *, key: str = KEY) -> Iterator[Wire]:
    """An upload whose key is claimed and half of whose body is sent; the rest is `BODY[10_000:]`."""
    with service.connect() as wire:
        wire.send(request("/recipe", BODY[:10_000], HEADER, f"Idempotency-Key: {key}", length=len(BODY)))
        assert eventually(lambda: bool(keys(backstage)))
        yield wire


def test_the_same_upload_gets_the_same_answer_and_makes_nothing_new(service: Service, backstage: Backstage) -> None:
    first, second, third = (send(service) for _ in range(3))

    assert first.status_code == second.status_code == third.status_code == 201
    assert [is_replayed(answer) for answer in (first, second, third)] == [False, True, True]
    assert first.json() == second.json() == third.json()
    assert first.headers["Location"] == second.headers["Location"]
    assert len(backstage.objects()) == len(backstage.rows()) == 1
    assert_stored(second.json(), PHOTO, backstage)


def test_its_fields_may_come_in_another_order_and_under_another_name(service: Service, backstage: Backstage) -> None:
    label, photo = text_part("Pancakes"), file_part(PHOTO, filename="copy.jpg")
    more = text_part("2", name="attempt")

    first = send(service)
    second = send(service, body=form(photo, more, label))

    assert is_replayed(second)
    assert second.json() == first.json()
    assert len(backstage.rows()) == 1


@pytest.mark.parametrize("other", [{"label": "Waffles"}, {"photo": jpeg(500, seed=2)}, {"photo": PHOTO[:-1]}])
def test_another_upload_with_the_same_key_is_refused(
    service: Service, backstage: Backstage, other: dict[str, Any]
) -> None:
    first = send(service)

    assert_problem(send(service, **other), 422, "idempotency-key-reused")

    assert len(backstage.objects()) == len(backstage.rows()) == 1
    assert send(service).json() == first.json()


def test_a_form_that_is_no_proper_one_is_no_replay(service: Service, backstage: Backstage) -> None:
    send(service)

    assert_problem(send(service, body=form(file_part(PHOTO))), 422, "field-missing", field="label")
    assert_problem(send(service, body=recipe_form(PHOTO)[:-10]), 400, "malformed-body")
    assert len(backstage.rows()) == 1


def test_without_a_key_every_upload_is_a_new_one(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        answers = [post(client) for _ in range(2)]

    assert len({answer.json()["id"] for answer in answers}) == 2
    assert keys(backstage) == []


def test_while_the_first_is_under_way_the_second_is_told_to_wait(service: Service, backstage: Backstage) -> None:
    with under_way(service, backstage) as wire:
        assert_problem(send(service, body=BODY), 409, "idempotency-key-in-use")
        assert send(service, key="another").status_code == 201
        wire.send(BODY[10_000:])
        first = wire.read()

    assert first.status == 201
    assert send(service, body=BODY).json() == first.json()
    assert len(backstage.rows()) == 2


def test_of_two_dynos_that_race_for_a_key_one_makes_the_recipe(start_service: Start, backstage: Backstage) -> None:
    dynos = [start_service(), start_service()]
    for number in range(20):
        together = Barrier(2)

        def race(dyno: Service, *, key: str = f"race-{number}", together: Barrier = together) -> httpx.Response:
            with dyno.client() as client:
                client.get("/healthz")  # connected
                together.wait()
                return post(client, headers={"Idempotency-Key": key})

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(race, dynos))
        made = [answer for answer in answers if answer.status_code == 201 and not is_replayed(answer)]
        assert len(made) == 1
        for answer in answers:
            assert answer.status_code in {201, 409}
            if answer.status_code == 201:
                assert answer.json() == made[0].json()

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
def test_an_upload_that_failed_may_be_tried_again_at_once(
    service: Service, backstage: Backstage, body: bytes, status: int, code: str, field: str | None
) -> None:
    assert_problem(send(service, body=body), status, code, field=field)
    assert keys(backstage) == []

    answer = send(service)

    assert answer.status_code == 201
    assert not is_replayed(answer)


def test_a_client_that_went_away_may_try_again(service: Service, backstage: Backstage) -> None:
    with under_way(service, backstage):
        pass

    assert eventually(lambda: keys(backstage) == [])
    assert send(service).status_code == 201
    assert len(backstage.objects()) == len(backstage.rows()) == 1


def test_a_key_that_has_expired_counts_no_more(service: Service, backstage: Backstage) -> None:
    first = send(service)
    backstage.sql("UPDATE idempotency_key SET expires_at = now() - interval '1 second'")

    second = send(service, label="Waffles")

    assert second.status_code == 201
    assert not is_replayed(second)
    assert second.json()["id"] != first.json()["id"]
    assert is_replayed(send(service, label="Waffles"))
    assert len(backstage.rows()) == 2


@pytest.mark.parametrize(("left", "status"), [("-1 second", 201), ("1 hour", 409)], ids=["lapsed", "still valid"])
def test_the_claim_of_a_process_that_died_lapses(
    service: Service, backstage: Backstage, left: str, status: int
) -> None:
    backstage.sql(
        "INSERT INTO idempotency_key (scope, key, claim, claimed_until, expires_at)"
        " VALUES ('', $1, gen_random_uuid(), now() + $2::text::interval, now() + interval '1 day')",
        KEY,
        left,
    )

    assert send(service).status_code == status


def test_who_has_lost_its_claim_leaves_nothing(service: Service, backstage: Backstage) -> None:
    with under_way(service, backstage) as wire:
        backstage.sql("UPDATE idempotency_key SET claim = gen_random_uuid()")  # as another does who takes it over
        (taken,) = keys(backstage)
        wire.send(BODY[10_000:])
        assert_problem(wire.read(), 409, "idempotency-key-in-use")

    assert eventually(lambda: backstage.objects() == [])
    assert backstage.rows() == []
    assert [row["claim"] for row in keys(backstage)] == [taken["claim"]]  # and is the other's still


def test_a_key_is_its_tokens_own(start_service: Start, backstage: Backstage) -> None:
    tokens = {"app": "token-of-the-app-00", "importer": "token-of-the-importer"}
    service = start_service(API_TOKENS=",".join(f"{name}:{token}" for name, token in tokens.items()))

    answers = {}
    for name, token in tokens.items():
        with service.client() as client:
            headers = bearer(token) | {"Idempotency-Key": KEY}
            answers[name] = [post(client, label=name, headers=headers) for _ in range(2)]

    for first, second in answers.values():
        assert first.status_code == second.status_code == 201
        assert not is_replayed(first)
        assert is_replayed(second)
    assert sorted((row["scope"], row["key"]) for row in keys(backstage)) == [("app", KEY), ("importer", KEY)]
    assert len(backstage.rows()) == 2


def test_a_recipe_that_is_deleted_takes_its_key_along(service: Service, backstage: Backstage) -> None:
    first = send(service).json()
    with service.client(first["manage_token"]) as client:
        assert client.delete(f"/recipe/{first['id']}").status_code == 204
    assert keys(backstage) == []

    second = send(service)

    assert not is_replayed(second)
    assert_stored(second.json(), PHOTO, backstage)
    assert len(backstage.rows()) == 1


def test_a_recipe_that_is_deleted_while_it_is_sent_again_is_not_claimed_to_be_there(
    service: Service, backstage: Backstage
) -> None:
    whole = request("/recipe", BODY, HEADER, "Idempotency-Key: again")
    with service.connect() as wire:
        wire.send(whole)
        first = wire.read().json()
    with service.connect() as wire, service.client(first["manage_token"]) as client:
        wire.send(whole[:-100])
        assert client.delete(f"/recipe/{first['id']}").status_code == 204
        wire.send(whole[-100:])
        answer = wire.read()

    assert answer.status in {201, 404}  # by whether its key was looked up before or after
    assert len(backstage.rows()) == len(backstage.objects()) == (answer.status == 201)


def test_two_keys_are_none(service: Service, backstage: Backstage) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", BODY, HEADER, "Idempotency-Key: one", "Idempotency-Key: other"))
        answer = wire.read()

    assert_problem(answer, 422, "invalid-parameter", field="Idempotency-Key")
    assert backstage.nothing_is_left()


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"], ids=["empty", "too long", "not ASCII", "a tab"])
def test_a_key_that_is_none_is_refused(service: Service, backstage: Backstage, key: str) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", BODY, HEADER, f"Idempotency-Key: {key}"))
        answer = wire.read()

    assert_problem(answer, 422, "invalid-parameter", field="Idempotency-Key")
    assert backstage.nothing_is_left()


@pytest.mark.parametrize("key", ["x", "x" * 255, "with spaces, commas; and 'quotes'"])
def test_a_key_may_be_any_text(service: Service, key: str) -> None:
    assert not is_replayed(send(service, key=key))
    assert is_replayed(send(service, key=key))


def test_whoever_works_keeps_the_claim(
    start_service: Start, backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("recipe_api.uploads.idempotency", "recipe_api.database.idempotency"):
        monkeypatch.setattr(f"{module}.CLAIM_SECONDS", 3)
    service = start_service()
    with under_way(service, backstage) as wire:
        seen = [keys(backstage)[0]["claimed_until"]]
        for _ in range(2):
            assert eventually(lambda: keys(backstage)[0]["claimed_until"] > seen[-1])
            seen.append(keys(backstage)[0]["claimed_until"])
        wire.send(BODY[10_000:])
        assert wire.read().status == 201

    assert is_replayed(send(service, body=BODY))


class Flickering:
    """Keys in a database that is away at every other call."""

    kept_seconds = 60.0

    def __init__(self) -> None:
        self.renewals = 0
        self.renewed_again = asyncio.Event()
        self.released = False

    async def claim(self, scope: str, key: str) -> Claim:
        return Claim(scope, key, uuid4())

    async def renew(self, claim: Claim) -> None:  # noqa: ARG002 - as the real one
        self.renewals += 1
        if self.renewals == 3:
            self.renewed_again.set()
        if self.renewals % 2:
            raise DatabaseUnavailable("The database does not answer now.")

    async def release(self, claim: Claim) -> None:  # noqa: ARG002 - as the real one
        self.released = True


@pytest.mark.usefixtures("service")  # which has configured the log
async def test_a_renewal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipe_api.uploads.idempotency.CLAIM_SECONDS", 0.01)
    flickering = Flickering()
    with lines_logged() as lines:
        async with attempt(cast("IdempotencyKeys", flickering), UploadKey("", KEY), undo=Undo()) as begun:
            assert isinstance(begun, Attempt)
            await flickering.renewed_again.wait()

    assert lines.events("could not renew the claim on an idempotency key; trying again")
    assert not flickering.released


async def test_a_cancelled_attempt_gives_its_claim_up() -> None:
    flickering = Flickering()
    with pytest.raises(asyncio.CancelledError):
        async with attempt(cast("IdempotencyKeys", flickering), UploadKey("", KEY), undo=Undo()):
            raise asyncio.CancelledError

    assert flickering.released


def test_a_fingerprint_is_of_label_and_photo_and_of_nothing_between_them() -> None:
    def digest(label: str, *pieces: bytes) -> bytes:
        fingerprint = Fingerprint()
        for piece in pieces:
            fingerprint.update(piece)
        return fingerprint.digest(label)

    assert digest("a", b"bc") == digest("a", b"b", b"c")
    assert len({digest("a", b"bc"), digest("ab", b"c"), digest("", b"abc"), digest("abc"), digest("b", b"bc")}) == 5
