"""`recipe-api dev`: the whole service on this machine, with one command and nothing installed beside the wheels.

The port is ours before anything starts; then come the stack, the migrations and the web server, and they end in the
reverse order, whatever ends them. The environment's own settings hold, save those that say where the database and
the bucket are: a shell in which production's happen to be set must not migrate or fill them.
"""

import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from recipe_api.dev.credentials import kept_secret
from recipe_api.dev.errors import DevError
from recipe_api.dev.migrations import migrate
from recipe_api.dev.signals import EndAsked, signals_end
from recipe_api.dev.stack import Stack, embedded_stack
from recipe_api.server import server_options
from recipe_api.settings import Settings, SettingsError

HOST = "127.0.0.1"
_GRACEFUL = 5  # seconds for uploads under way when the end is asked
_BACKLOG = 128
_ELSEWHERE = (
    *("DATABASE_URL", "S3_BUCKET", "S3_ENDPOINT_URL", "S3_CHECKSUM", "S3_CONDITIONAL_WRITES", "PUBLIC_BASE_URL"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "ACCESSKEYID", "SECRETACCESSKEY"),
    *("BUCKETEER_AWS_ACCESS_KEY_ID", "BUCKETEER_AWS_SECRET_ACCESS_KEY", "BUCKETEER_AWS_REGION"),
    "BUCKETEER_BUCKET_NAME",
)

AppFactory = str | Callable[..., Any]


def serve_dev(*, port: int, folder: Path, app: AppFactory = "recipe_api.app:create_app") -> int:
    """Serve on `port` with all data in `folder` until a signal ends it; the exit code.

    `app` is the factory of the ASGI application. 0 after a signal, which is how it is meant to end; 1 where it could
    not serve, with one line on standard error.
    """
    with signals_end():
        try:
            _serve(port, folder.resolve(), app)
        except EndAsked:
            return 0
        except (DevError, SettingsError) as error:
            print(f"recipe-api dev: {error}", file=sys.stderr)
            return 1
    return 0


def _serve(port: int, folder: Path, app: AppFactory) -> None:
    with _listening(port) as listener:
        print("Starting PostgreSQL and the object store …", flush=True)
        for name in _ELSEWHERE:
            os.environ.pop(name, None)
        with embedded_stack(folder) as stack:
            environment = _environment(stack, secret_key_file=folder / "secret-key", port=port)
            os.environ.update(environment)
            _note(environment, folder / "environment")
            settings = Settings.from_environment(os.environ)  # a wrong variable is told here, in one line
            migrate(stack.database_url)
            _Server(_configuration(app, settings), welcome=_welcome(port, folder)).run(sockets=[listener])


def _environment(stack: Stack, *, secret_key_file: Path, port: int) -> dict[str, str]:
    # The key is kept, so that manage tokens hold from one run to the next.
    secret_key = os.environ.get("SECRET_KEY") or kept_secret(secret_key_file)
    return {**stack.environment(), "SECRET_KEY": secret_key, "PORT": str(port)}


def _note(environment: Mapping[str, str], file: Path) -> None:
    """Writes the variables down as a shell reads them, for commands that are to work on the same stack."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(f"unset {' '.join(_ELSEWHERE)}\n")
        opened.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """The port, ours from now on. A request that comes while the rest starts waits."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(_BACKLOG)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DevError(f"port {port} cannot be had ({reason}); choose another with --port") from None
        yield listener


def _configuration(app: AppFactory, settings: Settings) -> uvicorn.Config:
    options = server_options(settings) | {"timeout_graceful_shutdown": _GRACEFUL}
    return uvicorn.Config(app, factory=True, host=HOST, **options)


class _Server(uvicorn.Server):
    """Says where it is once it answers there."""

    def __init__(self, config: uvicorn.Config, *, welcome: str) -> None:
        super().__init__(config)
        self._welcome = welcome

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._welcome, flush=True)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if not self.started:
            raise DevError("the application did not start; the lines above say why")


def _welcome(port: int, folder: Path) -> str:
    address = f"http://{HOST}:{port}"
    return f"""
  The page      {address}/
  API docs      {address}/docs
  An upload     curl -F label=Pancakes -F photo=@pancakes.jpg {address}/recipe
  The data      {folder}
  Its settings  {folder / "environment"}, for other commands: sweep, bucket doctor

Ctrl-C ends it; the data stay.
"""
