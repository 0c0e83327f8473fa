"""The health routes, and uploads while the database or the store is unavailable."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from recipe_api.errors import Unavailable
from recipe_api.resources import Resources
from recipe_api.settings import PART_SIZE
from recipe_api.web import health
from tests.support.calls import post
from tests.support.forms import jpeg
from tests.support.idempotency import key_of
from tests.support.log import lines_logged
from tests.support.problems import assert_problem
from tests.support.service import HOST, Service, closed_port
from tests.support.traces import Backstage

pytestmark = pytest.mark.slow


def test_both_routes_return_200_when_everything_works(service: Service) -> None:
    with service.client() as client:
        for path in ("/healthz", "/readyz"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.json() == {"status": "ok"}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never responds."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(params=["closed", "silent"])
def dead_port(request: pytest.FixtureRequest, silent_port: int, monkeypatch: pytest.MonkeyPatch) -> int:
    if request.param == "closed":
        return closed_port()
    monkeypatch.setattr(health, "CHECK_SECONDS", 2)  # enough for the part that is not silent
    return silent_port


class TestDatabaseAway:
    @pytest.fixture
    def client(self, start_service: Callable[..., Service], dead_port: int) -> Iterator[httpx.Client]:
        service = start_service(DATABASE_URL=f"postgres://nobody:nothing@{HOST}:{dead_port}/recipes")
        with service.client() as opened:
            yield opened

    def test_makes_readyz_fail_but_not_healthz(self, client: httpx.Client) -> None:
        answer = client.get("/readyz")

        problem = assert_problem(answer, 503, "database-unavailable")
        assert "database" in problem["detail"]
        assert "nothing" not in answer.text
        assert answer.headers["Retry-After"] == str(Unavailable.retry_after)
        assert client.get("/healthz").status_code == 200


class TestDatabaseRefusing:
    @pytest.fixture
    def client(self, start_service: Callable[..., Service]) -> Iterator[httpx.Client]:
        service = start_service(DATABASE_URL=f"postgres://nobody:nothing@{HOST}:{closed_port()}/recipes")
        with service.client() as opened:
            yield opened

    @pytest.mark.parametrize("size", [500, PART_SIZE + 1], ids=["one put", "in parts"])
    def test_rejects_an_upload_and_deletes_its_object(
        self, client: httpx.Client, backstage: Backstage, size: int
    ) -> None:
        answer = post(client, photo=jpeg(size))

        assert_problem(answer, 503, "database-unavailable")
        assert answer.headers["Retry-After"] == str(Unavailable.retry_after)
        assert backstage.nothing_is_left()

    def test_rejects_an_upload_with_an_idempotency_key(self, client: httpx.Client, backstage: Backstage) -> None:
        assert_problem(post(client, headers={"Idempotency-Key": key_of("x")}), 503, "database-unavailable")
        assert backstage.nothing_is_left()

    def test_rejects_a_listing(self, client: httpx.Client) -> None:
        assert_problem(client.get("/recipe"), 503, "database-unavailable")


class TestStoreAway:
    @pytest.fixture
    def client(self, start_service: Callable[..., Service], dead_port: int) -> Iterator[httpx.Client]:
        with start_service(S3_ENDPOINT_URL=f"http://{HOST}:{dead_port}").client() as opened:
            yield opened

    def test_makes_readyz_fail_but_not_healthz(self, client: httpx.Client) -> None:
        answer = client.get("/readyz")

        assert_problem(answer, 503, "storage-unavailable")
        assert answer.headers["Retry-After"] == str(Unavailable.retry_after)
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "environment",
    [
        {"S3_ENDPOINT_URL": f"http://{HOST}:{closed_port()}"},
        {"AWS_SECRET_ACCESS_KEY": "not-the-secret-of-this-store"},
        {"S3_BUCKET": "no-such-bucket"},
    ],
    ids=["nobody listens", "wrong credentials", "no such bucket"],
)
@pytest.mark.parametrize("size", [500, PART_SIZE + 1], ids=["one put", "in parts"])
def test_a_store_that_rejects_every_call_makes_an_upload_fail(
    start_service: Callable[..., Service], backstage: Backstage, environment: dict[str, str], size: int
) -> None:
    with start_service(**environment).client() as client:
        ready, uploaded, listed = client.get("/readyz"), post(client, photo=jpeg(size)), client.get("/recipe")

    assert_problem(ready, 503, "storage-unavailable")
    assert_problem(uploaded, 503, "storage-unavailable")
    assert uploaded.headers["Retry-After"] == str(Unavailable.retry_after)
    assert listed.json() == {"items": [], "next": None}
    assert backstage.nothing_is_left()


def test_a_missing_table_makes_readyz_fail(start_service: Callable[..., Service], backstage: Backstage) -> None:
    address = backstage.create_database("not_migrated")
    try:
        service = start_service(DATABASE_URL=address)
        with service.client() as client:
            problem = assert_problem(client.get("/readyz"), 503, "database-unavailable")
            assert "migrations" in problem["detail"]
            assert client.get("/healthz").status_code == 200
            for headers in ({}, {"Idempotency-Key": key_of("x")}):
                assert_problem(post(client, headers=headers), 503, "database-unavailable")
            assert_problem(client.get("/recipe"), 503, "database-unavailable")
            assert backstage.nothing_is_left()
    finally:
        backstage.drop_database("not_migrated")


async def test_an_unexpected_error_in_the_check_at_startup_is_only_logged() -> None:
    """If it were raised at shutdown, the service would not wait for uploads that are cleaning up."""

    class Broken:
        async def check(self) -> None:
            raise ZeroDivisionError

    resources = SimpleNamespace(schema=Broken(), store=Broken())
    with lines_logged() as lines:
        async with health.warning_unless_ready(cast("Resources", resources)):
            await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "check at start"])

    assert "ZeroDivisionError" in str(lines.events("the check at start failed"))
