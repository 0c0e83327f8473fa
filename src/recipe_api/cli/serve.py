"""`recipe-api serve`: uvicorn as a Heroku dyno wants it."""

import argparse
import os
from typing import TYPE_CHECKING, Any

import uvicorn

from recipe_api.observability import configure_logging
from recipe_api.settings import Settings

if TYPE_CHECKING:
    from recipe_api.cli.types import Commands

KEEP_ALIVE_SECONDS = 95
"""Above the 90 s for which Heroku's router keeps an idle connection: else it may pick one that is just closing."""
GRACEFUL_SECONDS = 17
"""How long uploads may go on after SIGTERM. Heroku kills at 30 s; aborting the rest and undoing it takes up to 8."""


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


def server_options(settings: Settings) -> dict[str, Any]:
    """What every uvicorn that serves the app is told, wherever it listens."""
    return {
        "loop": "auto",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": True,
        "forwarded_allow_ips": settings.forwarded_allow_ips,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }
