"""The check of the schema on a real PostgreSQL: migrations, privileges, and a read-only database."""

import asyncio
from uuid import uuid4

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from recipe_api.database.repository import Recipes
from recipe_api.database.schema import REVISION, Schema
from recipe_api.database.session import open_engine
from recipe_api.dev.migrations import alembic_config
from recipe_api.errors import DatabaseUnavailable
from recipe_api.settings import Settings
from tests.database.conftest import NAME, NEVER, ROLE, execute
from tests.support.calls import post
from tests.support.problems import assert_problem
from tests.support.service import running
from tests.support.traces import Backstage

pytestmark = pytest.mark.slow


async def check(settings: Settings, *, found: str | None = None) -> None:
    """Run the check, after the database was made to name another revision where one is given."""
    async with open_engine(settings) as engine:
        if found is not None:
            async with engine.begin() as connection:
                await connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
        await Schema(engine).check()


@pytest.mark.parametrize("settings", ["head"], indirect=True)
class TestMigrated:
    async def test_passes(self, settings: Settings) -> None:
        await check(settings)

    async def test_passes_where_a_newer_release_has_migrated_it(self, settings: Settings) -> None:
        await check(settings, found="9999")

    @pytest.mark.parametrize(
        "change",
        [
            "ALTER TABLE recipe DROP COLUMN location",
            "ALTER TABLE idempotency_key DROP COLUMN fingerprint",
            "ALTER TABLE lease RENAME COLUMN holder TO owner",
            "DROP TABLE pending_deletion",
        ],
    )
    async def test_is_refused_where_a_newer_release_has_removed_what_this_one_needs(
        self, settings: Settings, change: str
    ) -> None:
        await execute(settings, change)

        with pytest.raises(DatabaseUnavailable) as raised:
            await check(settings, found="9999")

        assert "deploy the release that has migrated them" in raised.value.reason

    async def test_is_refused_where_it_is_read_only(self, settings: Settings) -> None:
        await execute(settings, f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")

        with pytest.raises(DatabaseUnavailable) as raised:
            await check(settings)

        assert "read-only" in raised.value.reason

    async def test_passes_for_a_user_with_no_more_than_the_privileges_needed(self, restricted: Settings) -> None:
        await check(restricted)

    async def test_passes_for_a_user_with_privileges_on_columns(self, settings: Settings, restricted: Settings) -> None:
        await execute(
            settings,
            f"REVOKE ALL ON lease FROM {ROLE}",
            f"GRANT SELECT (name, holder, held_until), INSERT (name, holder, held_until), UPDATE (holder, held_until)"
            f" ON lease TO {ROLE}",
            f"GRANT DELETE ON lease TO {ROLE}",
        )

        await check(restricted)

    @pytest.mark.parametrize(
        ("revoked", "missing"),
        [
            ("INSERT ON recipe", "INSERT on recipe"),
            ("SELECT ON recipe", "SELECT on recipe"),
            ("UPDATE ON idempotency_key", "UPDATE on idempotency_key"),
            ("DELETE ON pending_deletion, lease", "DELETE on lease, DELETE on pending_deletion"),
        ],
    )
    async def test_fails_for_a_user_without_a_privilege_and_names_it(
        self, settings: Settings, restricted: Settings, revoked: str, missing: str
    ) -> None:
        await execute(settings, f"REVOKE {revoked} FROM {ROLE}")

        with pytest.raises(DatabaseUnavailable) as raised:
            await check(restricted)

        assert raised.value.reason == f"The user in DATABASE_URL lacks privileges; grant {missing}."

    async def test_a_statement_that_needs_a_missing_privilege_fails_with_a_remedy(
        self, settings: Settings, restricted: Settings
    ) -> None:
        await execute(settings, f"REVOKE UPDATE ON recipe FROM {ROLE}")

        async with open_engine(restricted) as engine:
            with pytest.raises(DatabaseUnavailable) as raised:
                await Recipes(engine).rename(uuid4(), "Crêpes")

        assert "grant SELECT, INSERT, UPDATE and DELETE" in raised.value.reason
        assert "permission denied for table recipe" in raised.value.reason


@pytest.mark.parametrize("settings", ["head"], indirect=True)
def test_an_upload_to_a_read_only_database_gets_503(settings: Settings, backstage: Backstage) -> None:
    backstage.sql(f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
    with running(settings) as service, service.client() as client:
        for headers in ({}, {"Idempotency-Key": str(uuid4())}):
            response = post(client, headers=headers)
            assert_problem(response, 503, "database-unavailable")
            assert response.headers["Retry-After"]
        assert_problem(client.get("/readyz"), 503, "database-unavailable")

    assert backstage.nothing_is_left()


@pytest.mark.parametrize("settings", ["head"], indirect=True)
@pytest.mark.parametrize(
    ("change", "with_key"),
    [
        ("ALTER TABLE recipe ADD COLUMN owner text NOT NULL", False),
        ("ALTER TABLE recipe ALTER COLUMN bucket TYPE bytea USING NULL", False),
        ("ALTER TABLE recipe DROP CONSTRAINT recipe_pkey CASCADE", False),
        ("ALTER TABLE idempotency_key DROP CONSTRAINT idempotency_key_pkey", True),
    ],
    ids=["required column", "other type", "no primary key", "no unique key"],
)
def test_an_upload_to_tables_that_a_newer_release_has_changed_gets_503(
    settings: Settings, backstage: Backstage, change: str, *, with_key: bool
) -> None:
    # asyncio.run() would remove the event loop of the session's async tests.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(execute(settings, change))
    with running(settings) as service, service.client() as client:
        response = post(client, headers={"Idempotency-Key": str(uuid4())} if with_key else {})

    assert_problem(response, 503, "database-unavailable")
    assert response.headers["Retry-After"]
    assert backstage.nothing_is_left()


@pytest.mark.parametrize("settings", ["0001"], indirect=True)
async def test_a_database_that_lacks_a_migration_fails_the_check(settings: Settings) -> None:
    with pytest.raises(DatabaseUnavailable, match=f"at migration 0001 and this release needs {REVISION}"):
        await check(settings)


@pytest.mark.parametrize("settings", [NEVER], indirect=True)
async def test_a_database_that_was_never_migrated_fails_the_check(settings: Settings) -> None:
    with pytest.raises(DatabaseUnavailable, match="run its migrations"):
        await check(settings)


def test_the_revision_is_that_of_the_newest_migration(database_url: str) -> None:
    assert ScriptDirectory.from_config(alembic_config(database_url)).get_current_head() == REVISION
