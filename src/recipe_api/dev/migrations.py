"""Runs Alembic in this process. `python -m recipe_api.dev.migrations` checks that models and migrations agree.

The check uses a temporary PostgreSQL: it upgrades to head, compares with the models, downgrades to an empty database,
and upgrades again, which fails if a downgrade is incomplete.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from recipe_api.dev.errors import DevError
from recipe_api.dev.postgres import postgres

SOURCE_TREE = Path(__file__).parents[3]


def alembic_config(database_url: str) -> Config:
    """Return the project's Alembic configuration, for the database at `database_url`.

    Raises:
        DevError: There is no `alembic.ini`, because the package is installed without its source tree.
    """
    found = next((file for file in (SOURCE_TREE / "alembic.ini", Path("alembic.ini")) if file.is_file()), None)
    if found is None:
        raise DevError("alembic.ini is missing; run this in the folder of the project")
    config = Config(found)
    config.attributes["database_url"] = database_url  # alembic/env.py prefers it to DATABASE_URL
    return config


def migrate(database_url: str) -> None:
    """Bring the database to the newest schema.

    Raises:
        DevError: See `alembic_config`.
    """
    command.upgrade(alembic_config(database_url), "head")


def main() -> int:
    """Check the migrations, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="recipe-api-") as folder:
        try:
            with postgres(Path(folder), durable=False) as database_url:
                config = alembic_config(database_url)
                command.upgrade(config, "head")
                command.check(config)
                command.downgrade(config, "base")
                command.upgrade(config, "head")
        except (CommandError, DevError) as error:
            print(f"migrations: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
