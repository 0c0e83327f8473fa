"""Listing, reading, renaming and deleting recipes, and the tokens for it."""

import base64
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recipe_api.units import MIB
from tests.support.calls import post, uploaded
from tests.support.examples import examples
from tests.support.forms import HEADER
from tests.support.problems import assert_problem
from tests.support.service import API_TOKEN, Service, bearer
from tests.support.traces import Backstage
from tests.support.wire import request

JSON = {"Content-Type": "application/json"}
NOBODYS = UUID("00000000-0000-4000-8000-000000000000")


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture
def recipe(service: Service) -> dict[str, Any]:
    return uploaded(service)


@pytest.fixture
def manager(service: Service, recipe: dict[str, Any]) -> Iterator[httpx.Client]:
    """A client that may rename and delete the recipe."""
    with service.client(recipe["manage_token"]) as opened:
        yield opened


@pytest.fixture
def closed_service(start_service: Callable[..., Service]) -> Service:
    """A service that requires an API token."""
    return start_service(API_TOKENS=f"tests:{API_TOKEN}, other:another-token-of-the-tests")


class TestListing:
    def test_lists_the_newest_first_without_manage_tokens(self, service: Service, client: httpx.Client) -> None:
        recipes = [uploaded(service, label=f"No. {number}") for number in range(3)]

        answer = client.get("/recipe")

        assert answer.status_code == 200
        expected = [{name: r[name] for name in r if name != "manage_token"} for r in reversed(recipes)]
        assert answer.json() == {"items": expected, "next": None}

    def test_is_empty_without_recipes(self, client: httpx.Client) -> None:
        assert client.get("/recipe").json() == {"items": [], "next": None}

    def test_a_recipe_of_an_older_release_has_no_dimensions_and_kept_its_metadata(
        self, client: httpx.Client, recipe: dict[str, Any], backstage: Backstage
    ) -> None:
        backstage.sql("UPDATE recipe SET width = NULL, height = NULL, photo_metadata = NULL")

        [item] = client.get("/recipe").json()["items"]

        assert item == {
            **{name: value for name, value in recipe.items() if name != "manage_token"},
            "width": None,
            "height": None,
            "metadata": "kept",
        }

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
    def test_pages_neither_miss_nor_repeat_a_recipe(self, service: Service, client: httpx.Client, limit: int) -> None:
        labels = [f"No. {number}" for number in range(7)]
        for label in labels:
            uploaded(service, label=label)

        pages = list(pages_from(client, f"/recipe?limit={limit}"))

        assert [len(page) for page in pages] == [limit] * (len(labels) // limit) + (
            [len(labels) % limit] if len(labels) % limit else []
        )
        assert [item["label"] for page in pages for item in page] == labels[::-1]

    def test_pages_are_stable_during_uploads_and_deletions(self, service: Service, client: httpx.Client) -> None:
        recipes = [uploaded(service, label=f"No. {number}") for number in range(6)]
        pages = pages_from(client, "/recipe?limit=2")

        seen = next(pages)
        uploaded(service, label="in between")
        assert client.delete(f"/recipe/{seen[-1]['id']}", headers=bearer(recipes[4]["manage_token"])).is_success
        for page in pages:
            seen += page

        assert [item["label"] for item in seen] == [f"No. {number}" for number in range(5, -1, -1)]

    @pytest.mark.parametrize("limit", ["0", "-1", "201", "many", "", "1.5", "99999999999999999999"])
    def test_rejects_a_limit_out_of_range(self, client: httpx.Client, limit: str) -> None:
        assert_problem(client.get("/recipe", params={"limit": limit}), 422, "invalid-parameter", field="limit")

    @settings(max_examples=examples(150))
    @example(base64.urlsafe_b64encode(bytes(24)).decode())
    @example(base64.urlsafe_b64encode(b"\xff" * 24).decode())
    @example(base64.urlsafe_b64encode((253402300799999999).to_bytes(8, "big") + bytes(16)).decode())
    @example("\0")
    @given(st.text(max_size=80) | st.binary(min_size=24, max_size=24).map(base64.urlsafe_b64encode).map(bytes.decode))
    def test_accepts_any_well_formed_cursor_and_rejects_others(self, shared_service: Service, cursor: str) -> None:
        with shared_service.client() as client:
            answer = client.get("/recipe", params={"after": cursor.encode("utf-8", "surrogatepass")})

        if answer.status_code != 200:
            assert_problem(answer, 422, "invalid-parameter", field="after")


class TestReading:
    def test_returns_the_recipe_without_its_manage_token(self, client: httpx.Client, recipe: dict[str, Any]) -> None:
        answer = client.get(f"/recipe/{recipe['id']}")

        assert answer.status_code == 200
        assert answer.json() == {name: recipe[name] for name in recipe if name != "manage_token"}

    def test_an_unknown_recipe_is_404(self, client: httpx.Client) -> None:
        assert_problem(client.get(f"/recipe/{uuid4()}"), 404, "recipe-not-found")

    @pytest.mark.parametrize("recipe_id", ["1", "null", "%00", "%F0%9F%A5%9E", "x" * 5000])
    def test_an_invalid_id_is_rejected(self, client: httpx.Client, recipe_id: str) -> None:
        assert_problem(client.get(f"/recipe/{recipe_id}"), 422, "invalid-parameter", field="recipe_id")


class TestRenaming:
    def test_changes_the_label_and_nothing_else(
        self, manager: httpx.Client, recipe: dict[str, Any], backstage: Backstage
    ) -> None:
        answer = manager.patch(f"/recipe/{recipe['id']}", json={"label": "Crêpes 🥞"})

        changed = {name: recipe[name] for name in recipe if name != "manage_token"} | {"label": "Crêpes 🥞"}
        assert answer.status_code == 200
        assert answer.json() == changed
        assert manager.get(f"/recipe/{recipe['id']}").json() == changed
        assert backstage.objects() == [recipe["key"]]

    @pytest.mark.parametrize(
        ("body", "status", "code", "field"),
        [
            pytest.param(b"", 400, "malformed-body", None, id="empty"),
            pytest.param(b"{", 400, "malformed-body", None, id="cut"),
            pytest.param(b"[]", 422, "invalid-field", None, id="list"),
            pytest.param(b"null", 422, "invalid-field", None, id="null"),
            pytest.param(b'{"label":"\xff"}', 400, "malformed-body", None, id="no UTF-8"),
            pytest.param(rb'{"label":"\ud800"}', 400, "malformed-body", None, id="half a surrogate pair"),
            pytest.param(b"[" * 5000, 400, "malformed-body", None, id="deep"),
            pytest.param(b"{}", 422, "invalid-field", "label", id="no label"),
            pytest.param(b'{"label":null}', 422, "invalid-field", "label", id="label null"),
            pytest.param(b'{"label":7}', 422, "invalid-field", "label", id="label a number"),
            pytest.param(b'{"label":["x"]}', 422, "invalid-field", "label", id="label a list"),
            pytest.param(b'{"label":""}', 422, "field-empty", "label", id="label empty"),
            pytest.param(b'{"label":"x","key":"y"}', 422, "invalid-field", "key", id="more than a label"),
            pytest.param(rb'{"label":" \t\u2003"}', 422, "field-empty", "label", id="label blank"),
            pytest.param(rb'{"label":"a\u0000b"}', 422, "invalid-text", "label", id="NUL"),
            pytest.param(b'{"label":"%s"}' % (b"x" * 1025), 413, "text-too-large", "label", id="label too long"),
            pytest.param(b'{"label":"%s"}' % (b"x" * MIB), 413, "body-too-large", None, id="a megabyte"),
        ],
    )
    def test_an_invalid_label_is_rejected(
        self,
        manager: httpx.Client,
        recipe: dict[str, Any],
        body: bytes,
        status: int,
        code: str,
        field: str | None,
    ) -> None:
        answer = manager.patch(f"/recipe/{recipe['id']}", content=body, headers=JSON)

        assert_problem(answer, status, code, field=field)
        assert manager.get(f"/recipe/{recipe['id']}").json()["label"] == "Pancakes"

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_an_invalid_body_is_rejected(
        self, manager: httpx.Client, recipe: dict[str, Any], content_type: str
    ) -> None:
        answer = manager.patch(
            f"/recipe/{recipe['id']}", content=b'{"label":"x"}', headers={"Content-Type": content_type}
        )

        assert_problem(answer, 415, "not-json")

    def test_the_content_type_may_have_a_charset(self, manager: httpx.Client, recipe: dict[str, Any]) -> None:
        headers = {"Content-Type": "Application/JSON; charset=utf-8"}

        assert manager.patch(f"/recipe/{recipe['id']}", content=b'{"label":"x"}', headers=headers).is_success

    def test_an_unknown_recipe_is_404(self, closed_service: Service) -> None:
        with closed_service.client(API_TOKEN) as client:
            assert_problem(client.patch(f"/recipe/{uuid4()}", json={"label": "x"}), 404, "recipe-not-found")


class TestDeleting:
    def test_deletes_the_row_and_the_photo(
        self, manager: httpx.Client, client: httpx.Client, recipe: dict[str, Any], backstage: Backstage
    ) -> None:
        answer = manager.delete(f"/recipe/{recipe['id']}")

        assert answer.status_code == 204
        assert answer.content == b""
        assert backstage.nothing_is_left()
        assert_problem(manager.get(f"/recipe/{recipe['id']}"), 404, "recipe-not-found")
        assert client.get(recipe["location"]).status_code == 404

    def test_a_second_deletion_is_404(self, manager: httpx.Client, recipe: dict[str, Any]) -> None:
        manager.delete(f"/recipe/{recipe['id']}")

        assert_problem(manager.delete(f"/recipe/{recipe['id']}"), 404, "recipe-not-found")

    def test_keeps_other_recipes(
        self, service: Service, manager: httpx.Client, client: httpx.Client, recipe: dict[str, Any]
    ) -> None:
        other = uploaded(service)

        manager.delete(f"/recipe/{recipe['id']}")

        assert manager.get(f"/recipe/{other['id']}").status_code == 200
        assert client.get(other["location"]).status_code == 200

    def test_succeeds_if_the_photo_is_already_gone(
        self, manager: httpx.Client, recipe: dict[str, Any], backstage: Backstage
    ) -> None:
        backstage.s3.delete_object(Bucket=backstage.bucket, Key=recipe["key"])

        assert manager.delete(f"/recipe/{recipe['id']}").status_code == 204


WANTS_A_TOKEN = 'Bearer realm="recipe_api"'
KNOWS_NOT_THIS = 'Bearer realm="recipe_api", error="invalid_token"'
WANTS_ANOTHER = 'Bearer realm="recipe_api", error="insufficient_scope"'


class TestManageTokens:
    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    @pytest.mark.parametrize("authorization", [None, "Basic eDp5", "Bearer", "letmein"])
    def test_a_token_is_required(
        self, client: httpx.Client, recipe: dict[str, Any], method: str, authorization: str | None
    ) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}

        answer = client.request(method, f"/recipe/{recipe['id']}", headers=headers)

        assert_problem(answer, 401, "token-wanted")
        assert answer.headers["WWW-Authenticate"] == WANTS_A_TOKEN
        assert client.get(f"/recipe/{recipe['id']}").json()["label"] == "Pancakes"

    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    def test_a_manage_token_is_valid_for_one_recipe(self, service: Service, manager: httpx.Client, method: str) -> None:
        other = uploaded(service)

        answer = manager.request(method, f"/recipe/{other['id']}", json={"label": "mine"})

        assert_problem(answer, 403, "token-refused")
        assert answer.headers["WWW-Authenticate"] == WANTS_ANOTHER
        assert manager.get(f"/recipe/{other['id']}").json()["label"] == "Pancakes"

    @pytest.mark.parametrize("spoilt", ["{}x", "x{}", "é", "\N{PILE OF POO}"])
    def test_a_truncated_token_is_rejected(self, client: httpx.Client, recipe: dict[str, Any], spoilt: str) -> None:
        token = spoilt.format(recipe["manage_token"]).encode()

        answer = client.delete(f"/recipe/{recipe['id']}", headers={b"Authorization": b"Bearer " + token})

        assert_problem(answer, 403, "token-refused")

    def test_the_scheme_is_case_insensitive(self, client: httpx.Client, recipe: dict[str, Any]) -> None:
        headers = {"Authorization": f"bearer {recipe['manage_token']}"}

        assert client.delete(f"/recipe/{recipe['id']}", headers=headers).status_code == 204

    def test_a_rejection_does_not_reveal_whether_the_recipe_exists(self, manager: httpx.Client) -> None:
        assert_problem(manager.delete(f"/recipe/{uuid4()}"), 403, "token-refused")


class TestApiTokens:
    @pytest.mark.parametrize("token", [None, "not-a-token-of-the-tests", f"{API_TOKEN}x", API_TOKEN[:-1], "é"])
    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_uploading_and_listing_require_one(
        self, closed_service: Service, backstage: Backstage, token: str | None, method: str
    ) -> None:
        with closed_service.client() as client:
            if token is not None:
                client.headers = httpx.Headers({b"Authorization": b"Bearer " + token.encode()})
            answer = post(client) if method == "POST" else client.get("/recipe")

        assert_problem(answer, 401, "token-wanted" if token is None else "token-unknown")
        assert answer.headers["WWW-Authenticate"] == (WANTS_A_TOKEN if token is None else KNOWS_NOT_THIS)
        assert backstage.nothing_is_left()

    @pytest.mark.parametrize("token", [API_TOKEN, "another-token-of-the-tests"])
    def test_an_api_token_permits_everything(self, closed_service: Service, backstage: Backstage, token: str) -> None:
        with closed_service.client(token) as client:
            created = post(client)
            assert created.status_code == 201
            recipe_id = created.json()["id"]
            assert [item["id"] for item in client.get("/recipe").json()["items"]] == [recipe_id]
            assert client.get(f"/recipe/{recipe_id}").status_code == 200
            assert client.patch(f"/recipe/{recipe_id}", json={"label": "x"}).json()["label"] == "x"
            assert client.delete(f"/recipe/{recipe_id}").status_code == 204
        assert backstage.nothing_is_left()

    def test_reading_and_the_holder_of_a_manage_token_need_none(self, closed_service: Service) -> None:
        with closed_service.client(API_TOKEN) as client:
            recipe = post(client).json()

        with closed_service.client() as stranger:
            assert stranger.get(f"/recipe/{recipe['id']}").status_code == 200
            assert_problem(stranger.delete(f"/recipe/{recipe['id']}"), 401, "token-wanted")
        with closed_service.client(recipe["manage_token"]) as manager:
            assert_problem(manager.get("/recipe"), 401, "token-unknown")
            assert manager.patch(f"/recipe/{recipe['id']}", json={"label": "x"}).status_code == 200
            assert manager.delete(f"/recipe/{recipe['id']}").status_code == 204

    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz"])
    def test_other_routes_need_none(self, closed_service: Service, path: str) -> None:
        with closed_service.client() as client:
            assert client.get(path).status_code == 200

    @pytest.mark.parametrize(
        ("method", "target", "header"),
        [("POST", "/recipe", HEADER), ("PATCH", f"/recipe/{NOBODYS}", "Content-Type: application/json")],
    )
    def test_a_missing_token_is_rejected_before_the_body_is_sent(
        self, closed_service: Service, method: str, target: str, header: str
    ) -> None:
        with closed_service.connect() as wire:
            wire.send(request(target, b"", header, method=method, length=MIB))
            assert_problem(wire.read(), 401, "token-wanted")

    def test_a_missing_token_is_rejected_without_a_100_continue(self, closed_service: Service) -> None:
        with closed_service.connect() as wire:
            wire.send(request("/recipe", b"", HEADER, "Expect: 100-continue", length=MIB))
            assert wire.read_exactly(12) == b"HTTP/1.1 401"


def pages_from(client: httpx.Client, path: str | None) -> Iterator[list[dict[str, Any]]]:
    while path is not None:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        yield page["items"]
        path = page["next"]
