"""`recipe-api serve`: uvicorn, configured for a Heroku dyno."""

import argparse
import os
from typing import TYPE_CHECKING

import structlog
import uvicorn

from recipe_api.observability import configure_logging
from recipe_api.server import running, server_options
from recipe_api.settings import Settings, misspelled

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

_log = structlog.get_logger(__name__)


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve",
        help="run the service, as on a Heroku dyno",
        description="Runs the service on PORT with WEB_CONCURRENCY processes. All settings are environment variables; "
        ".env.example lists them.",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s, all)")  # noqa: S104 - Heroku's router connects from outside the dyno
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the service until a signal stops it."""
    settings = Settings.from_environment(os.environ)
    configure_logging(settings.log_level)
    for name, setting in misspelled(os.environ):
        _log.warning("not a setting, and therefore ignored", variable=name, similar_to=setting)
    config = uvicorn.Config(
        "recipe_api.app:create_app",
        factory=True,
        host=options.host,
        port=settings.port,
        workers=settings.web_concurrency,
        **server_options(settings),
    )
    running.run(config)
    return 0
