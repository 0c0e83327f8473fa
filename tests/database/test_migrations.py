"""Migrations: upgrade, agreement with the models, downgrade, and upgrade again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command

from recipe_api.dev.migrations import alembic_config
from tests.support.service import HOST
from tests.support.traces import Backstage

NAME = "migrations"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def address(backstage: Backstage) -> Iterator[str]:
    yield backstage.create_database(NAME)
    backstage.drop_database(NAME)


def test_upgrade_matches_the_models_and_can_be_downgraded_and_repeated(address: str) -> None:
    config = alembic_config(address)

    command.upgrade(config, "head")
    command.check(config)
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    command.check(config)


def test_a_second_upgrade_changes_nothing(address: str) -> None:
    config = alembic_config(address)

    command.upgrade(config, "head")
    command.upgrade(config, "head")

    command.check(config)


def test_upgrade_can_print_sql_without_a_database(capsys: pytest.CaptureFixture[str]) -> None:
    config = alembic_config("postgres://nobody:not-a-password@nowhere.test/recipes")

    command.upgrade(config, "head", sql=True)

    sql = capsys.readouterr().out
    assert "CREATE TABLE recipe (" in sql
    assert "not-a-password" not in sql


def alembic_upgrade(database_url: str | None) -> subprocess.CompletedProcess[str]:
    """Run the command as a release phase does."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=environment | ({} if database_url is None else {"DATABASE_URL": database_url}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
class TestCommand:
    @pytest.mark.parametrize(
        ("address", "line"),
        [
            (None, "DATABASE_URL is not set; see .env.example"),
            ("", "DATABASE_URL is not set; see .env.example"),
            ("mysql://nobody@nowhere.test/recipes", "DATABASE_URL: must begin with postgres:// or postgresql://"),
            (f"postgres://nobody:not-a-password@{HOST}:1/recipes", "cannot connect to the database"),
        ],
        ids=["unset", "empty", "another database", "nobody listens"],
    )
    def test_reports_an_invalid_url_in_one_line(self, address: str | None, line: str) -> None:
        ended = alembic_upgrade(address)

        assert ended.returncode != 0
        (line_printed,) = (ended.stdout + ended.stderr).splitlines()
        assert line_printed.startswith(f"FAILED: {line}")
        assert "not-a-password" not in line_printed

    @pytest.mark.parametrize("path", ["/no_such_database", "/no_such_database?sslmode=disable"])
    def test_reports_a_rejection_by_the_server_in_one_line(self, database_url: str, path: str) -> None:
        ended = alembic_upgrade(database_url.rpartition("/")[0] + path)

        assert ended.returncode != 0
        (line_printed,) = (ended.stdout + ended.stderr).splitlines()
        assert "no_such_database" in line_printed

    def test_prints_a_line_for_each_migration(self, address: str) -> None:
        first, second = alembic_upgrade(address), alembic_upgrade(address)

        assert (first.returncode, first.stderr) == (second.returncode, second.stderr) == (0, "")
        assert first.stdout.startswith("Migrated from an empty database to 0001.\nMigrated from 0001 to 0002.\n")
        assert second.stdout == ""
