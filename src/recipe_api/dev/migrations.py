"""Alembic in this process, and the check that models and migrations agree: `python -m recipe_api.dev.migrations`.

The check runs on an embedded PostgreSQL of its own, thrown away afterwards: up to head, no difference to the models,
down to nothing, and up once more, which finds what a downgrade forgot.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from recipe_api.dev.errors import DevError
from recipe_api.dev.postgres import postgres

_SOURCE_TREE = Path(__file__).parents[3]


def alembic_config(database_url: str) -> Config:
    """The project's Alembic configuration, for the database at `database_url`.

    Raises:
        DevError: There is no `alembic.ini`: this is an installed package without its source tree.
    """
    found = next((file for file in (_SOURCE_TREE / "alembic.ini", Path("alembic.ini")) if file.is_file()), None)
    if found is None:
        raise DevError("alembic.ini is not here; run this in the project's own folder")
    config = Config(found)
    config.attributes["database_url"] = database_url  # alembic/env.py takes it before DATABASE_URL
    return config


def migrate(database_url: str) -> None:
    """Bring the database to the newest schema.

    Raises:
        DevError: See `alembic_config`.
    """
    command.upgrade(alembic_config(database_url), "head")


def main() -> int:
    """Check the migrations; 0 where they are right."""
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
