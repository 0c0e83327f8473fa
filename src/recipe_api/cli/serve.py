"""`recipe-api serve`: uvicorn as a Heroku dyno wants it."""

import argparse
import os
from typing import TYPE_CHECKING

import uvicorn

from recipe_api.observability import configure_logging
from recipe_api.server import server_options
from recipe_api.settings import Settings

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands


def add_to(commands: "Commands") -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "serve",
        help="serve, as a dyno does",
        description="Serves on PORT with WEB_CONCURRENCY processes. Everything else comes from the environment too; "
        ".env.example lists it.",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s, all)")  # noqa: S104 - a dyno's router reaches it from outside
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves until it is told to stop."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level)
    uvicorn.run(
        "recipe_api.app:create_app",
        factory=True,
        host=options.host,
        port=settings.port,
        workers=settings.web_concurrency,
        **server_options(settings),
    )
    return 0
