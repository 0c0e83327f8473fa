"""The command line: `recipe-api serve | dev`. Each command calls what the app itself is made of."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import uvicorn

from recipe_api.observability import configure_logging
from recipe_api.settings import Settings, SettingsError

KEEP_ALIVE_SECONDS = 95
"""Above the 90 s for which Heroku's router keeps an idle connection: else it may pick one that is just closing."""
GRACEFUL_SECONDS = 20
"""Heroku kills 30 s after it asks to stop; what is aborted after this still has time to be undone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; answers its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except SettingsError as error:
        print(f"recipe-api: {error}", file=sys.stderr)
        return 2
    return code


def _serve(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level)
    uvicorn.run(
        "recipe_api.app:create_app",
        factory=True,
        host=options.host,
        port=settings.port,
        workers=settings.web_concurrency,
        loop="auto",
        http="httptools",
        ws="none",
        lifespan="on",
        proxy_headers=True,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    return 0


def _dev(options: argparse.Namespace) -> int:
    from recipe_api.dev.server import serve_dev  # noqa: PLC0415 - a dyno has not installed what this needs

    return serve_dev(port=options.port, folder=options.data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recipe-api", description="Takes a label and a photo in one form, and streams the photo to S3."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('recipe-api')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="serve, as a dyno does",
        description="Serves on PORT with WEB_CONCURRENCY processes. Everything else comes from the environment too; "
        ".env.example lists it.",
    )
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s, all)")  # noqa: S104 - a dyno's router reaches it from outside
    serve.set_defaults(run=_serve)

    dev = commands.add_parser(
        "dev",
        help="serve on this machine, with a PostgreSQL and an object store of its own",
        description="Starts PostgreSQL and an object store with their data in a folder, migrates, and serves.",
    )
    dev.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    dev.add_argument("--data", type=Path, default=Path(".dev"), help="folder of the data (default: %(default)s)")
    dev.set_defaults(run=_dev)
    return parser


if __name__ == "__main__":
    sys.exit(main())
