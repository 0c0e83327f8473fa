"""`recipe-api dev`: the service on this machine, with its own PostgreSQL and object store."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

_DESCRIPTION = """\
Serves on this machine, with its own PostgreSQL and object store, whose data stays in a folder. Variables such as
PORT, MAX_UPLOAD_BYTES, API_TOKENS or LOG_LEVEL apply as in production. DATABASE_URL, S3_BUCKET, S3_ENDPOINT_URL,
PUBLIC_BASE_URL and S3 credentials do not: they may belong to a database and a bucket that this command must
neither migrate nor fill. WEB_CONCURRENCY has no effect: the service is one process here. To serve from other
databases and buckets, or with several processes, use: recipe-api serve"""


def add_to(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dev",
        help="serve on this machine, with its own PostgreSQL and object store",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, help="port to listen on (default: the variable PORT, or 8000)")
    parser.add_argument("--data", type=Path, default=Path(".dev"), help="folder for the data (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    from recipe_api.dev.server import serve_dev  # noqa: PLC0415 - a dyno has not installed what this needs

    return serve_dev(port=options.port, folder=options.data)
