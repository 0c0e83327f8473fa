"""The command line: `recipe-api serve | dev | sweep | render | bucket | doctor`.

Each command is a module that adds its own parser and reads only the environment variables that it needs. Only the
module of the requested command is imported, which keeps the process small that `serve` runs beside its workers.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

COMMANDS = ("serve", "dev", "sweep", "render", "bucket", "doctor")
USAGE_ERROR = 2
UNAVAILABLE = 3
INTERRUPTED = 128 + 2  # the exit code that shells report for SIGINT
NOT_READ = 128 + 13  # and for SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for invalid settings, 3 if a service that it needs is unavailable."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    from recipe_api.errors import Unavailable  # noqa: PLC0415 - Ctrl-C during this import is handled, too
    from recipe_api.settings import SettingsError  # noqa: PLC0415 - the same

    options = _parser(arguments).parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except SettingsError as error:
        print(f"recipe-api: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Unavailable as error:
        cause = str(error.__cause__ or "").partition("\n")[0]
        print(f"recipe-api: {error.reason or (f'{error} ({cause})' if cause else error)}", file=sys.stderr)
        return UNAVAILABLE
    except BrokenPipeError:  # the reader has gone, as with `| head`; the interpreter would flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_READ
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recipe-api", description="An upload service that streams labelled photos to S3."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('recipe-api')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in [name for name in COMMANDS if name in arguments[:1]] or COMMANDS:
        import_module(f"{__name__}.{command}").add_to(commands)
    return parser
