"""`recipe-api doctor`: checks everything that the service depends on, in one go."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

from recipe_api.cli.results import OK, is_on_heroku, print_results
from recipe_api.database.capacity import Demand
from recipe_api.database.doctor import examine_database
from recipe_api.diagnosis.checks import Result, fail, ok, skip, warn
from recipe_api.diagnosis.commands import Commands
from recipe_api.observability import configure_logging
from recipe_api.settings import DatabaseSettings, S3Settings, Settings, SettingsError, misspelled
from recipe_api.storage.bucket.doctor import Doctor

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands as Subparsers

_DESCRIPTION = """\
Checks everything that the service depends on, with its own settings, credentials and connections:
  settings   all variables that the service needs, and variables whose names are almost those of settings
  database   connection, encryption, whether it accepts writes, migrations, the user's privileges, columns, the number
             of connections that the processes open at most, and the clock
  bucket     everything that `recipe-api bucket doctor` checks, the store's clock included

Each line begins with ok, warn (it works, but not as well as it should), fail (the service cannot work, or will fail
under load) or skip (not checked, and why). Below it is the command that fixes the problem, if there is one; words in
capitals, such as YOUR-SECRET, are placeholders. If settings are invalid or the database does not respond, everything
else is still checked. Nothing is written to the database. A small photo is written to the bucket and removed again. No
secret is printed.

Exit code: 0 the service can work (there may be warnings), 1 at least one check failed, 2 invalid arguments.
"""


def add_to(commands: "Subparsers") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "doctor",
        help="diagnose problems with settings, database and bucket, and show how to fix them",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--instances",
        type=_positive,
        default=1,
        metavar="N",
        help="how many dynos or machines run the service, to calculate the number of connections (default: 1)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, at least 1")
    return int(value)


def run(options: argparse.Namespace) -> int:
    """Check everything and return the exit code."""
    configure_logging("error", stream=sys.stderr)
    return asyncio.run(_examine(options, os.environ))


async def _examine(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    parts = {
        "settings": _examine_settings(environ),
        "database": _examine_database(environ, instances=options.instances),
        "bucket": _examine_bucket(environ),
    }
    codes = []
    for part, results in parts.items():
        if not options.json:
            print(f"{part}:" if part == "settings" else f"\n{part}:")
        codes.append(await print_results(results, as_json=options.json, part=part))
    return max(codes, default=OK)


async def _examine_settings(environ: Mapping[str, str]) -> AsyncGenerator[Result, None]:
    try:
        Settings.from_environment(environ)
        yield ok("settings", "all required variables are set, and all are valid")
    except SettingsError as error:
        yield fail("settings", f"{error}")
    for name, setting in misspelled(environ):
        yield warn("spelling", f"{name} is not a setting, so it is ignored; did you mean {setting}?")


def _examine_database(environ: Mapping[str, str], *, instances: int) -> AsyncGenerator[Result, None]:
    try:
        settings = DatabaseSettings.from_environment(environ)
    except SettingsError:
        return _not_checked()
    commands = Commands(on_heroku=is_on_heroku(environ))
    return examine_database(settings, demand=_demand(environ, instances=instances), commands=commands)


def _demand(environ: Mapping[str, str], *, instances: int) -> Demand | None:
    try:
        settings = Settings.from_environment(environ)
    except SettingsError:
        return None
    return Demand(instances=instances, processes=settings.web_concurrency, pool_size=settings.database_pool_size)


def _examine_bucket(environ: Mapping[str, str]) -> AsyncGenerator[Result, None]:
    try:
        settings = S3Settings.from_environment(environ)
    except SettingsError:
        return _not_checked()
    return Doctor(settings, on_heroku=is_on_heroku(environ)).examine()


async def _not_checked() -> AsyncGenerator[Result, None]:
    yield skip("connection", "not checked, because its settings are missing or invalid")
