"""`recipe-api dev`: the service on this machine, with all that it stands on."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands


def add_to(commands: "Commands") -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "dev",
        help="serve on this machine, with a PostgreSQL and an object store of its own",
        description="Starts PostgreSQL and an object store with their data in a folder, migrates, and serves.",
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path(".dev"), help="folder of the data (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves until it is told to stop."""
    from recipe_api.dev.server import serve_dev  # noqa: PLC0415 - a dyno has not installed what this needs

    return serve_dev(port=options.port, folder=options.data)
