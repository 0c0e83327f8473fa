"""Databases that are read-only, lack a privilege or a migration, or allow a single connection."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from alembic import command
from sqlmodel import SQLModel

import recipe_api.database.models  # noqa: F401 - defines the tables
from recipe_api.dev.migrations import alembic_config, migrate
from tests.drills.stage import Stage, client_of, upload
from tests.support.calls import post
from tests.support.traces import eventually

_ROLE = "drills_role"
_TABLES = ", ".join(sorted(SQLModel.metadata.tables))
_OLD_REVISION = "0004"
"""A revision that lacks columns to which every upload writes."""


def read_only_database(stage: Stage) -> str:
    """While the database is read-only, /readyz and uploads return 503 and nothing is left; then they work again."""
    name = "drills_read_only"
    with _database(stage, name) as url, stage.serving({"DATABASE_URL": url}) as server, client_of(server) as client:
        upload(client)
        _make_read_only(stage, name, "on")
        assert eventually(lambda: _is_unavailable(client.get("/readyz")))
        assert _is_unavailable(post(client))
        _make_read_only(stage, name, "off")
        assert eventually(lambda: client.get("/readyz").status_code == 200)
        upload(client)
    assert eventually(lambda: len(stage.backstage.objects()) == 2), stage.backstage.objects()
    return "503 with Retry-After, then 200 and 201 again without a restart"


def missing_privilege(stage: Stage) -> str:
    """A missing privilege is named in the log, and /readyz returns 503 until it is granted."""
    with _role(stage) as url, stage.serving({"DATABASE_URL": url}) as server, client_of(server) as client:
        upload(client)
        stage.backstage.sql(f"REVOKE INSERT ON recipe FROM {_ROLE}")
        assert eventually(lambda: _is_unavailable(client.get("/readyz")))
        assert _is_unavailable(post(client))
        assert "INSERT on recipe" in stage.log.read_text()
        stage.backstage.sql(f"GRANT INSERT ON recipe TO {_ROLE}")
        assert eventually(lambda: client.get("/readyz").status_code == 200)
        upload(client)
    return "503 and INSERT on recipe in the log; 201 once it is granted"


def missing_migration(stage: Stage) -> str:
    """While the database is some migrations behind, /readyz and uploads return 503."""
    with _database(stage, "drills_behind") as url:
        command.downgrade(alembic_config(url), _OLD_REVISION)
        with stage.serving({"DATABASE_URL": url}) as server, client_of(server) as client:
            assert _is_unavailable(client.get("/readyz"))
            assert _is_unavailable(post(client))
            assert "alembic upgrade head" in stage.log.read_text()
            migrate(url)
            assert eventually(lambda: client.get("/readyz").status_code == 200)
            upload(client)
    return "503 with Retry-After; 201 once it is migrated, without a restart"


def one_connection(stage: Stage) -> str:
    """A database user with a single connection suffices for uploads, with and without a key, and for lists."""
    with (
        _role(stage, "CONNECTION LIMIT 1") as url,
        stage.serving({"DATABASE_URL": url, "DATABASE_POOL_SIZE": "1"}) as server,
        client_of(server) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        upload(client)

        def use(number: int) -> int:
            if number % 3 == 0:
                return client.get("/recipe").status_code
            key = {"Idempotency-Key": str(uuid4())} if number % 3 == 1 else {}
            return post(client, headers=key).status_code

        statuses = list(threads.map(use, range(60)))
        wrong = [status for status in statuses if status not in {200, 201}]
        assert not wrong, f"{len(wrong)} of {len(statuses)} requests failed: {sorted(set(wrong))}"
    return f"{len(statuses)} of {len(statuses)} requests over 8 connections succeed"


def _is_unavailable(response: httpx.Response) -> bool:
    return response.status_code == 503 and "Retry-After" in response.headers


def _make_read_only(stage: Stage, name: str, value: str) -> None:
    stage.backstage.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
    stage.backstage.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)


@contextmanager
def _database(stage: Stage, name: str) -> Iterator[str]:
    url = stage.backstage.create_database(name)
    try:
        migrate(url)
        yield url
    finally:
        stage.backstage.drop_database(name)


@contextmanager
def _role(stage: Stage, options: str = "") -> Iterator[str]:
    """Create a database user with all the privileges that the service needs; yield its URL."""
    stage.backstage.sql(f"CREATE ROLE {_ROLE} LOGIN PASSWORD 'drills' {options}")
    try:
        stage.backstage.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {_TABLES} TO {_ROLE}")
        stage.backstage.sql(f"GRANT SELECT ON alembic_version TO {_ROLE}")
        parts = urlsplit(stage.stack.database_url)
        yield parts._replace(netloc=f"{_ROLE}:drills@{parts.netloc.rpartition('@')[2]}").geturl()
    finally:
        stage.backstage.sql(f"DROP OWNED BY {_ROLE}")
        stage.backstage.sql(f"DROP ROLE {_ROLE}")
