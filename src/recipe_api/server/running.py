"""Runs uvicorn, in this process or in several."""

import sys

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from recipe_api.server.connections import raise_file_limit
from recipe_api.server.graceful import GracefulServer
from recipe_api.server.workers import Supervisor


def run(config: uvicorn.Config) -> None:
    """Serve with as many processes as `config` names until a signal ends them.

    Raises:
        SystemExit: The application did not start, or its workers kept dying.
    """
    raise_file_limit()  # workers inherit it
    try:
        failed = _supervise(config) if config.workers > 1 else _serve(config)
    except KeyboardInterrupt:  # uvicorn raises the signal again once it has shut down
        return
    if failed:
        sys.exit(STARTUP_FAILURE)


def _serve(config: uvicorn.Config) -> bool:
    server = GracefulServer(config)
    server.run()
    return not server.started


def _supervise(config: uvicorn.Config) -> bool:
    supervisor = Supervisor(config)
    supervisor.run()
    return supervisor.failed
