"""`recipe-api dev`: the service on this machine, with all that it stands on."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

_DESCRIPTION = """\
Serves on this machine, with a PostgreSQL and an object store of its own, whose data stay in a folder.
Variables such as MAX_UPLOAD_BYTES, API_TOKENS or LOG_LEVEL hold as in production. DATABASE_URL, S3_BUCKET,
S3_ENDPOINT_URL, PUBLIC_BASE_URL and credentials of S3 do not: they would lead to a database and a bucket that are
not this command's to migrate and fill. To serve from those, use: recipe-api serve"""


def add_to(commands: "Commands") -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "dev",
        help="serve on this machine, with a PostgreSQL and an object store of its own",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path(".dev"), help="folder of the data (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves until it is told to stop."""
    from recipe_api.dev.server import serve_dev  # noqa: PLC0415 - a dyno has not installed what this needs

    return serve_dev(port=options.port, folder=options.data)
