"""The service with a database role that may open only one connection."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from recipe_api.errors import Unavailable
from recipe_api.resources import open_resources
from recipe_api.settings import Settings
from recipe_api.web.health import failures
from tests.support.calls import post
from tests.support.service import Service, bearer, running
from tests.support.traces import Backstage

ROLE = "role_with_one_connection"
AT_ONCE = 8


@pytest.fixture
def url(make_settings: Callable[..., Settings], backstage: Backstage) -> Iterator[str]:
    backstage.sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'one' CONNECTION LIMIT 1")
    backstage.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}")
    parts = urlsplit(make_settings().database_url.get_secret_value())
    yield parts._replace(netloc=f"{ROLE}:one@{parts.netloc.rpartition('@')[2]}").geturl()
    backstage.sql(f"DROP OWNED BY {ROLE}")
    backstage.sql(f"DROP ROLE {ROLE}")


def use(service: Service, number: int) -> list[int]:
    """Call every route that uses the database, and return the statuses."""
    with service.client() as client:
        made = post(client, headers={"Idempotency-Key": str(uuid4())} if number % 2 else {})
        if made.status_code != 201:
            return [made.status_code]
        recipe, token = f"/recipe/{made.json()['id']}", bearer(made.json()["manage_token"])
        responses = [
            client.get("/recipe"),
            client.get(recipe),
            client.patch(recipe, json={"label": "Crêpes"}, headers=token),
            client.get("/readyz"),
            client.delete(recipe, headers=token),
        ]
        return [response.status_code for response in (made, *responses)]


def test_one_connection_is_enough_for_every_route_at_once(
    make_settings: Callable[..., Settings], url: str, backstage: Backstage
) -> None:
    with running(make_settings(DATABASE_URL=url, DATABASE_POOL_SIZE="1")) as service:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = list(threads.map(lambda number: use(service, number), range(AT_ONCE * 3)))

        assert found == [[201, 200, 200, 200, 200, 204]] * len(found)
        assert backstage.nothing_is_left()


def test_a_connection_that_breaks_is_replaced(
    make_settings: Callable[..., Settings], url: str, backstage: Backstage
) -> None:
    with running(make_settings(DATABASE_URL=url, DATABASE_POOL_SIZE="1")) as service, service.client() as client:
        assert post(client).status_code == 201
        backstage.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1", ROLE)
        assert post(client).status_code == 201

    assert len(backstage.rows()) == 2


def test_a_process_that_wants_more_connections_is_not_ready_and_says_what_to_do(
    make_settings: Callable[..., Settings], url: str
) -> None:
    async def found() -> list[Unavailable]:
        async with open_resources(make_settings(DATABASE_URL=url)) as resources:
            return await failures(resources)

    # asyncio.run() would remove the event loop of the session's async tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        (failure,) = runner.run(found())

    assert "lower it (1 is enough) or raise the limit" in failure.reason
