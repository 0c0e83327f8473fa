"""Migrations: up, as the models say, down to nothing, and up again."""

from collections.abc import Iterator

import pytest
from alembic import command

from recipe_api.dev.migrations import alembic_config
from tests.support.traces import Backstage

NAME = "migrations"


@pytest.fixture
def address(backstage: Backstage) -> Iterator[str]:
    yield backstage.create_database(NAME)
    backstage.drop_database(NAME)


def test_go_up_agree_with_the_models_go_down_and_up_again(address: str) -> None:
    config = alembic_config(address)

    command.upgrade(config, "head")
    command.check(config)
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    command.check(config)


def test_twice_are_no_more_than_once(address: str) -> None:
    config = alembic_config(address)

    command.upgrade(config, "head")
    command.upgrade(config, "head")

    command.check(config)


def test_can_be_read_as_sql_without_a_database(capsys: pytest.CaptureFixture[str]) -> None:
    config = alembic_config("postgres://nobody:not-a-password@nowhere.test/recipes")

    command.upgrade(config, "head", sql=True)

    sql = capsys.readouterr().out
    assert "CREATE TABLE recipe (" in sql
    assert "not-a-password" not in sql
