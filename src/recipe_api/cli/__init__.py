"""The command line: `recipe-api serve | dev | sweep`. Each command calls what the app itself is made of.

A module a command: it adds its own parser, and reads no more of the environment than it needs.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from recipe_api.cli import dev, serve, sweep
from recipe_api.errors import Unavailable
from recipe_api.settings import SettingsError

USAGE_ERROR = 2
UNAVAILABLE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; answers its exit code: 2 where the environment is wrong, 3 where what it needs is away."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except SettingsError as error:
        print(f"recipe-api: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Unavailable as error:
        print(f"recipe-api: {error}", file=sys.stderr)
        return UNAVAILABLE
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recipe-api", description="Takes a label and a photo in one form, and streams the photo to S3."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('recipe-api')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (serve, dev, sweep):
        command.add_to(commands)
    return parser
