"""An upload that is repeated with its `Idempotency-Key`: one recipe, whatever happened to the first response."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from recipe_api.settings import PART_SIZE
from tests.support.calls import PHOTO, post
from tests.support.forms import CONTENT_TYPE, HEADER, file_part, form, jpeg, recipe_form, text_part
from tests.support.idempotency import key_of
from tests.support.problems import assert_problem
from tests.support.recipes import assert_stored
from tests.support.service import API_TOKEN, Service
from tests.support.traces import Backstage, eventually
from tests.support.wire import request

KEY = {"Idempotency-Key": "73d0a5a6-4f0d-4e1f-8a5e-0f3e9c1f7b42"}
KEY_LINE = f"Idempotency-Key: {KEY['Idempotency-Key']}"


@pytest.mark.parametrize("size", [500, PART_SIZE + 1], ids=["one put", "in parts"])
def test_gets_the_same_response_and_creates_no_second_recipe(service: Service, backstage: Backstage, size: int) -> None:
    photo = jpeg(size)
    with service.client() as client:
        first, again = (post(client, photo=photo, headers=KEY) for _ in range(2))

    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_stored(first.json(), photo, backstage)
    assert len(backstage.objects()) == len(backstage.rows()) == 1


def test_is_recognized_in_any_order_of_its_fields(service: Service, backstage: Backstage) -> None:
    turned = form(file_part(PHOTO, filename="other.jpg"), text_part("Pancakes"))
    with service.client() as client:
        first = post(client, headers=KEY)
        again = client.post("/recipe", content=turned, headers={"Content-Type": CONTENT_TYPE, **KEY})

    assert again.json() == first.json()
    assert len(backstage.objects()) == 1


@pytest.mark.parametrize("change", [{"label": "Crêpes"}, {"photo": PHOTO[:-1]}], ids=["label", "photo"])
def test_is_rejected_for_another_upload(service: Service, backstage: Backstage, change: dict[str, str]) -> None:
    with service.client() as client:
        first = post(client, headers=KEY)
        other = post(client, headers=KEY, **change)  # type: ignore[arg-type]  # one of label and photo

    assert_problem(other, 422, "idempotency-key-reused")
    assert backstage.objects() == [first.json()["key"]]


def test_with_another_key_or_none_is_another_upload(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        responses = [post(client, headers=headers) for headers in (KEY, {"Idempotency-Key": key_of("another")}, {}, {})]

    assert len({response.json()["id"] for response in responses}) == 4
    assert len(backstage.objects()) == 4


def test_may_use_its_key_again_after_a_rejection(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        assert_problem(post(client, photo=b"<html>", headers=KEY), 415, "unsupported-photo", field="photo")
        response = post(client, headers=KEY)

    assert response.status_code == 201
    assert_stored(response.json(), PHOTO, backstage)


def test_may_use_its_key_again_after_a_disconnect(service: Service, backstage: Backstage) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", recipe_form(PHOTO)[:300], HEADER, KEY_LINE, length=999))

    def retry() -> httpx.Response:
        with service.client() as client:
            return post(client, headers=KEY)

    assert eventually(lambda: retry().status_code == 201)  # 409 until the service has noticed
    assert len(backstage.objects()) == len(backstage.rows()) == 1


def test_gets_409_while_the_first_is_in_progress(service: Service, backstage: Backstage) -> None:
    body = recipe_form(PHOTO)
    with service.connect() as wire, service.client() as client:
        wire.send(request("/recipe", body[:300], HEADER, KEY_LINE, length=len(body)))
        assert eventually(lambda: bool(backstage.sql("SELECT FROM idempotency_key")))
        second = post(client, headers=KEY)
        wire.send(body[300:])
        first = wire.read()

    assert_problem(second, 409, "idempotency-key-in-use")
    assert int(second.headers["Retry-After"]) > 0
    assert first.status == 201
    assert len(backstage.objects()) == 1


def test_sent_ten_times_at_once_creates_one_recipe(service: Service, backstage: Backstage) -> None:
    def upload(_: int) -> httpx.Response:
        with service.client() as client:
            return post(client, headers=KEY)

    with ThreadPoolExecutor(10) as clients:
        responses = list(clients.map(upload, range(10)))

    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    assert len(backstage.objects()) == len(backstage.rows()) == 1


def test_creates_a_new_recipe_after_the_first_was_deleted(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        first = post(client, headers=KEY).json()
        client.delete(f"/recipe/{first['id']}", headers={"Authorization": f"Bearer {first['manage_token']}"})
        again = post(client, headers=KEY)

    assert again.status_code == 201
    assert "Idempotency-Replayed" not in again.headers
    assert again.json()["id"] != first["id"]
    assert backstage.objects() == [again.json()["key"]]


def test_belongs_to_its_token(start_service: Callable[..., Service], backstage: Backstage) -> None:
    other_token = "another-token-of-the-tests"
    service = start_service(API_TOKENS=f"tests:{API_TOKEN}, other:{other_token}")
    with service.client(API_TOKEN) as client, service.client(other_token) as other:
        responses = [post(client, headers=KEY), post(other, headers=KEY)]

    assert len({response.json()["id"] for response in responses}) == 2
    assert len(backstage.objects()) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_needs_a_valid_key(service: Service, backstage: Backstage, key: str) -> None:
    with service.connect() as wire:
        wire.send(request("/recipe", recipe_form(PHOTO), HEADER, f"Idempotency-Key: {key}"))
        assert_problem(wire.read(), 422, "invalid-parameter", field="Idempotency-Key")

    assert backstage.nothing_is_left()
