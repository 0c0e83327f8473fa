"""The service, its migrations and its sweep through PgBouncer in transaction mode."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from alembic import command

from recipe_api.database.connection import CONNECT_SECONDS, Connector
from recipe_api.database_url import parse
from recipe_api.dev.migrations import alembic_config
from recipe_api.dev.stack import Stack
from recipe_api.resources import open_resources
from recipe_api.settings import Settings
from tests.conftest import SECRET_KEY
from tests.support.calls import PHOTO, post
from tests.support.database_proxy import DatabaseProxy
from tests.support.forms import jpeg
from tests.support.idempotency import key_of
from tests.support.pgbouncer import POOL_SIZE, pgbouncer, required_pgbouncer
from tests.support.proxy import Fault, Plan
from tests.support.recipes import assert_stored
from tests.support.service import Service
from tests.support.traces import Backstage

pytestmark = pytest.mark.slow

MANY = 40
Result = TypeVar("Result")
_PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE name NOT IN ('', 'ours')"
"""Return how many named prepared statements the session has, apart from those of the first test."""


@pytest.fixture(scope="module")
def pooled_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The database through a pooler with fewer connections than the service opens."""
    required_pgbouncer()
    with pgbouncer(tmp_path_factory.mktemp("pgbouncer"), database_url) as url:
        yield url


@pytest.fixture
def http_protocol() -> str:
    """Return the default alone, since a pooler is on the other side of the service."""
    return "recipe_api"


@pytest.fixture
def service(start_service: Callable[..., Service], pooled_url: str) -> Service:
    return start_service(DATABASE_URL=pooled_url)


def run_apart(work: Coroutine[Any, Any, Result]) -> Result:
    # A separate event loop: asyncio.run() would remove the one of the session's async tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


def test_the_pooler_loses_named_prepared_statements(pooled_url: str) -> None:
    """Otherwise the other tests would show nothing."""

    async def prepared_in_one_session_and_run_in_another() -> None:
        ours, other = [await asyncpg.connect(pooled_url, statement_cache_size=0) for _ in range(2)]
        try:
            async with ours.transaction():
                statement = await ours.prepare("SELECT 1", name="ours")
                session = await ours.fetchval("SELECT pg_backend_pid()")
            while True:
                async with other.transaction():
                    if await other.fetchval("SELECT pg_backend_pid()") == session:
                        await statement.fetchval()
        finally:
            ours.terminate()
            other.terminate()

    with pytest.raises(asyncpg.InvalidSQLStatementNameError):
        run_apart(prepared_in_one_session_and_run_in_another())


def test_every_route_works(service: Service, backstage: Backstage) -> None:
    with service.client() as client:
        for _ in range(3):  # by then each server session has seen statements of each client
            made = post(client)
            assert_stored(made.json(), PHOTO, backstage)
            recipe, token = f"/recipe/{made.json()['id']}", {"Authorization": f"Bearer {made.json()['manage_token']}"}
            responses = [
                client.get("/readyz"),
                client.get("/recipe", params={"limit": 1}),
                client.get(recipe),
                client.patch(recipe, json={"label": "Crêpes"}, headers=token),
                client.get("/"),
                client.delete(recipe, headers=token),
            ]
            assert [response.status_code for response in (made, *responses)] == [201, 200, 200, 200, 200, 200, 204]
            assert client.get(recipe).status_code == 404

    assert backstage.nothing_is_left()


def test_pending_deletions_are_attempted(
    make_settings: Callable[..., Settings], pooled_url: str, backstage: Backstage
) -> None:
    backstage.s3.put_object(Bucket=backstage.bucket, Key="1.jpg", Body=b"x")
    backstage.sql(
        "INSERT INTO pending_deletion VALUES ('1.jpg', $1, 'x', now(), 0, now())",
        backstage.bucket_url,
    )

    async def started() -> None:
        async with open_resources(make_settings(DATABASE_URL=pooled_url)) as resources:
            for _ in range(3):
                await resources.deletions.attempt_due()

    run_apart(started())

    assert backstage.nothing_is_left()
    assert backstage.sql("SELECT FROM pending_deletion") == []


def test_many_uploads_at_once_are_all_stored(service: Service, backstage: Backstage) -> None:
    with service.client() as client, ThreadPoolExecutor(16) as threads:
        headers = [{"Idempotency-Key": key_of(f"pooler-{number}")} if number % 2 else {} for number in range(MANY)]
        responses = list(threads.map(lambda each: post(client, headers=each), headers))
        again = list(threads.map(lambda each: post(client, headers=each), headers[1::2]))

    assert {response.status_code for response in responses} == {201}
    assert {row["id"] for row in backstage.rows()} == {UUID(response.json()["id"]) for response in responses}
    assert [response.json() for response in again] == [response.json() for response in responses[1::2]]
    assert {response.headers["Idempotency-Replayed"] for response in again} == {"true"}


def test_of_two_uploads_with_one_key_one_is_stored(service: Service, backstage: Backstage) -> None:
    with service.client() as client, ThreadPoolExecutor(8) as threads:
        responses = list(
            threads.map(lambda _: post(client, photo=jpeg(500), headers={"Idempotency-Key": key_of("one")}), range(8))
        )

    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    assert len(backstage.rows()) == 1


def test_no_statement_stays_prepared_in_sessions_of_the_server(service: Service, pooled_url: str) -> None:
    """Each would stay for as long as the pooler keeps the session: an hour, and a hundred thousand uploads."""
    with service.client() as client:
        for _ in range(5):
            post(client)
            client.get("/recipe")

    async def prepared() -> set[int]:
        connections = [await asyncpg.connect(pooled_url, statement_cache_size=0) for _ in range(POOL_SIZE)]
        found = set()
        for connection in connections:
            await connection.execute("BEGIN")  # so that each gets its own session
        for connection in connections:
            found.add(await connection.fetchval(_PREPARED))
            await connection.close()
        return found

    assert run_apart(prepared()) == {0}


def test_migrations_go_up_and_down(pooled_url: str, backstage: Backstage) -> None:
    name = "migrations-through-a-pooler"
    backstage.create_database(name)
    try:
        config = alembic_config(urlsplit(pooled_url)._replace(path=f"/{name}").geturl())
        command.upgrade(config, "head")
        command.check(config)
        command.downgrade(config, "base")
        command.upgrade(config, "head")
        command.check(config)
    finally:
        backstage.drop_database(name)


def test_two_concurrent_migrations_both_succeed(pooled_url: str, backstage: Backstage) -> None:
    name = "two-migrations-through-a-pooler"
    backstage.create_database(name)
    root = Path(__file__).parents[2]
    variables = os.environ | {"DATABASE_URL": urlsplit(pooled_url)._replace(path=f"/{name}").geturl()}
    try:
        both = [
            subprocess.Popen([sys.executable, "-m", "alembic", "upgrade", "head"], env=variables, cwd=root)
            for _ in range(2)
        ]
        assert [process.wait(60) for process in both] == [0, 0]
    finally:
        backstage.drop_database(name)


def test_of_two_concurrent_sweeps_one_runs_and_both_end(stack: Stack, pooled_url: str, backstage: Backstage) -> None:
    assert backstage.nothing_is_left()
    for number in range(5):
        backstage.s3.put_object(Bucket=backstage.bucket, Key=f"175379217000{number}-{number:032x}.jpg", Body=b"orphan")
    variables = (
        os.environ | stack.environment() | {"DATABASE_URL": pooled_url, "SECRET_KEY": SECRET_KEY, "RENDITIONS": "none"}
    )
    sweep = [sys.executable, "-m", "recipe_api.cli", "sweep", "--grace", "0", "--fix", "--force"]

    both = [subprocess.Popen(sweep, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    codes = []
    for process in both:
        process.communicate(timeout=60)
        codes.append(process.returncode)

    assert set(codes) <= {0, 1, 3}, "expected: nothing found, something found, or another sweep is running"
    assert 1 in codes
    assert backstage.nothing_is_left()
    assert backstage.sql("SELECT * FROM lease") == []


@pytest.mark.parametrize(
    ("parameters", "prepares"),
    [
        ("", False),
        ("?prepared_statements=false", False),
        ("?pgbouncer=true", False),
        ("?prepared_statements=true", True),
    ],
)
def test_a_pooler_is_detected_unless_the_uri_decides(pooled_url: str, parameters: str, *, prepares: bool) -> None:
    connector = Connector(parse(pooled_url + parameters), seconds=CONNECT_SECONDS)

    async def connect() -> None:
        await (await connector.connect()).close()

    run_apart(connect())

    assert connector.prepares is prepares


def test_a_connection_prepares_nothing_if_another_detects_the_pooler_while_it_is_opening(pooled_url: str) -> None:
    with DatabaseProxy.before(pooled_url).running() as proxy:
        held = Plan(call="CONNECT", nth=2, fault=Fault.HELD)
        proxy.script.follow(held)

        async def prepared() -> list[int]:
            connector = Connector(parse(proxy.url), seconds=CONNECT_SECONDS)
            opening = [asyncio.create_task(connector.connect()) for _ in range(2)]
            await asyncio.wait(opening, return_when=asyncio.FIRST_COMPLETED)
            assert not connector.prepares
            held.gate.set()
            opened = await asyncio.gather(*opening)
            found = [await connection.fetchval(_PREPARED) for connection in opened]
            for connection in opened:
                await connection.close()
            return found

        assert run_apart(prepared()) == [0, 0]


def test_a_name_for_the_application_reaches_the_server(pooled_url: str) -> None:
    connector = Connector(parse(f"{pooled_url}?application_name=recipes"), seconds=CONNECT_SECONDS)

    async def shown() -> str:
        connection = await connector.connect()
        try:
            return str(await connection.fetchval("SHOW application_name"))
        finally:
            await connection.close()

    assert run_apart(shown()) == "recipes"
