"""Each check of a database fails if what it checks is wrong."""

import shlex
import socket
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from recipe_api.database import session
from recipe_api.database.capacity import Capacity, Demand
from recipe_api.database.doctor import CHECKS, examine_database, judge
from recipe_api.database.schema import REVISION
from recipe_api.diagnosis.checks import Result, Verdict
from recipe_api.diagnosis.commands import Commands
from recipe_api.settings import Settings
from tests.database.conftest import NAME, NEVER, ROLE, execute
from tests.support.pgbouncer import pgbouncer, required_pgbouncer
from tests.support.service import closed_port

pytestmark = pytest.mark.slow

FEW = Demand(instances=2, processes=2, pool_size=2)
"""Ten connections, including those of jobs."""


async def found(settings: Settings, **options: Any) -> dict[str, Result]:  # noqa: ANN401 - passed on
    """Run the doctor and return the results that are not ok, by check."""
    options = {"demand": FEW, "commands": Commands(), **options}
    async with aclosing(examine_database(settings, **options)) as results:
        every = {result.check: result async for result in results}
    assert list(every) == [check.name for check in CHECKS]
    return {name: result for name, result in every.items() if result.verdict is not Verdict.OK}


def at_other_host(settings: Settings, make_settings: Callable[..., Settings], query: str) -> Settings:
    """Return the settings with an address that reaches this machine without being one of its loopback addresses."""
    parts = urlsplit(settings.database_url.get_secret_value())
    netloc = f"{parts.netloc.rpartition('@')[0]}@0.0.0.0:{parts.port}"
    return make_settings(DATABASE_URL=parts._replace(netloc=netloc, query=query).geturl())


@pytest.mark.parametrize("settings", ["head"], indirect=True)
class TestMigrated:
    async def test_a_database_that_has_everything_passes(self, settings: Settings, restricted: Settings) -> None:
        assert await found(settings) == {}
        assert await found(restricted) == {}

    async def test_a_newer_schema_is_a_warning(self, settings: Settings) -> None:
        await execute(settings, "UPDATE alembic_version SET version_num = '9999'")
        (result,) = (await found(settings)).values()
        assert (result.check, result.verdict) == ("migrations", Verdict.WARN)
        assert "9999" in result.detail

    async def test_a_missing_column(self, settings: Settings) -> None:
        await execute(settings, "ALTER TABLE recipe DROP COLUMN width")
        (result,) = (await found(settings)).values()
        assert (result.check, result.verdict) == ("tables", Verdict.FAIL)
        assert "width" in result.detail

    async def test_missing_privileges_and_their_remedy(self, settings: Settings, restricted: Settings) -> None:
        await execute(settings, f"REVOKE INSERT, DELETE ON recipe, lease FROM {ROLE}")
        results = await found(restricted)
        lacked = "DELETE on lease, DELETE on recipe, INSERT on lease, INSERT on recipe"
        assert results["privileges"].detail == f"The user in DATABASE_URL lacks {lacked}."
        assert results["tables"].verdict is Verdict.SKIP

        grants = shlex.split(results["privileges"].remedy)[-1].split("; ")
        assert grants == [f"GRANT DELETE ON lease, recipe TO {ROLE}", f"GRANT INSERT ON lease, recipe TO {ROLE}"]
        await execute(settings, *grants)
        assert await found(restricted) == {}

    async def test_a_read_only_database(self, settings: Settings) -> None:
        await execute(settings, f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
        (result,) = (await found(settings)).values()
        assert (result.check, result.verdict) == ("writes", Verdict.FAIL)

    @pytest.mark.parametrize("whose", ["role", "database"])
    async def test_a_connection_limit(self, settings: Settings, restricted: Settings, whose: str) -> None:
        limited = {"role": f"ROLE {ROLE}", "database": f"DATABASE {NAME}"}[whose]
        await execute(settings, f"ALTER {limited} CONNECTION LIMIT 9")
        (result,) = (await found(restricted)).values()
        assert (result.check, result.verdict) == ("connections", Verdict.FAIL)
        assert f"the limit of the {whose} is 9" in result.detail
        assert result.remedy == "export DATABASE_POOL_SIZE=1"

    async def test_a_wrong_clock(self, settings: Settings) -> None:
        (result,) = (await found(settings, clock=lambda: datetime.now(UTC) - timedelta(minutes=20))).values()
        assert (result.check, result.verdict) == ("clock", Verdict.WARN)
        assert "20 minutes" in result.detail

    async def test_a_connection_to_another_machine_without_encryption(
        self, settings: Settings, make_settings: Callable[..., Settings]
    ) -> None:
        (result,) = (await found(at_other_host(settings, make_settings, "sslmode=prefer"))).values()
        assert (result.check, result.verdict) == ("encryption", Verdict.WARN)

    async def test_the_server_s_limit_says_nothing_about_a_pooler(
        self, settings: Settings, make_settings: Callable[..., Settings], tmp_path: Path
    ) -> None:
        required_pgbouncer()
        with pgbouncer(tmp_path, settings.database_url.get_secret_value()) as url:
            (result,) = (await found(make_settings(DATABASE_URL=url))).values()
        assert (result.check, result.verdict) == ("connections", Verdict.SKIP)
        assert "must allow 10 connections" in result.detail


@pytest.mark.parametrize("settings", [NEVER, "0001"], indirect=True)
async def test_missing_migrations(settings: Settings) -> None:
    results = await found(settings, commands=Commands(on_heroku=True))
    assert REVISION in results["migrations"].detail
    assert results["migrations"].remedy == "heroku run -- alembic upgrade head"
    assert results["tables"].verdict is Verdict.SKIP


async def test_a_database_that_does_not_respond(make_settings: Callable[..., Settings]) -> None:
    url = f"postgres://cook:p4ncakes@127.0.0.1:{closed_port()}/recipes"
    results = await found(make_settings(DATABASE_URL=url))
    connection = results.pop("connection")
    assert connection.verdict is Verdict.FAIL
    assert "Check the host and the port in DATABASE_URL" in connection.detail
    assert {(result.verdict, result.detail) for result in results.values()} == {
        (Verdict.SKIP, "not checked, because connection failed")
    }
    assert "p4ncakes" not in str([connection, results])


async def test_a_server_that_is_silent(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgres://cook@127.0.0.1:{silent.getsockname()[1]}/recipes"
        results = await found(make_settings(DATABASE_URL=url))
    assert "no response in time. Check the host and the port" in results["connection"].detail


@pytest.mark.parametrize("settings", ["head"], indirect=True)
@pytest.mark.parametrize(
    ("right", "wrong", "advice"),
    [
        (":restricted@", ":wrong@", "Check the user and the password in DATABASE_URL"),
        (f"/{NAME}", "/nowhere", "correct its name in DATABASE_URL"),
    ],
)
async def test_a_login_that_the_database_rejects(
    restricted: Settings, make_settings: Callable[..., Settings], right: str, wrong: str, advice: str
) -> None:
    url = restricted.database_url.get_secret_value().replace(right, wrong)
    results = await found(make_settings(DATABASE_URL=url))
    assert advice in results["connection"].detail


@pytest.mark.parametrize(
    ("limits", "used", "verdict", "remedy"),
    [
        ({"server": 10}, 4, Verdict.OK, ""),
        ({"server": 100, "role": 10}, 4, Verdict.OK, ""),
        ({"server": 9}, 4, Verdict.FAIL, "export DATABASE_POOL_SIZE=1"),
        ({"server": 100, "role": 5}, 4, Verdict.FAIL, ""),  # not even one connection for each process
        ({"server": 12}, 7, Verdict.WARN, ""),
    ],
)
def test_the_lowest_limit_and_the_connections_of_others_count(
    limits: dict[str, int], used: int, verdict: Verdict, remedy: str
) -> None:
    result = judge(FEW, Capacity(limits=limits, used=used, used_by_role=4), Commands())
    assert (result.verdict, result.remedy) == (verdict, remedy)
