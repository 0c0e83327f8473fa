"""The command line: `recipe-api serve | dev | sweep | bucket`. Each command calls what the app itself is made of.

A module a command: it adds its own parser, and reads no more of the environment than it needs. Only the module of the
command that is asked for is imported: `serve` keeps a process beside its workers, which need not weigh as much.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from recipe_api.errors import Unavailable
from recipe_api.settings import SettingsError

COMMANDS = ("serve", "dev", "sweep", "bucket")
USAGE_ERROR = 2
UNAVAILABLE = 3
INTERRUPTED = 128 + 2  # as a shell tells of SIGINT
NOT_READ = 128 + 13  # and of SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; answers its exit code: 2 where the environment is wrong, 3 where what it needs is away."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except SettingsError as error:
        print(f"recipe-api: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Unavailable as error:
        why = str(error.__cause__ or "").partition("\n")[0]
        print(f"recipe-api: {error}" + (f" ({why})" if why else ""), file=sys.stderr)
        return UNAVAILABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads on, as after `| head`; the interpreter would try to, once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_READ
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recipe-api", description="Takes a label and a photo in one form, and streams the photo to S3."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('recipe-api')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in [name for name in COMMANDS if name in arguments[:1]] or COMMANDS:
        import_module(f"{__name__}.{command}").add_to(commands)
    return parser
