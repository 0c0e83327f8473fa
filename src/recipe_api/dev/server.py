"""`recipe-api dev`: runs the whole service on this machine, from Python wheels alone.

It first checks the settings and binds the port. Then it starts PostgreSQL and the object store, runs the migrations and
starts the web server; it stops them in reverse order. Settings come from the environment, except those of the database
and the bucket: in a shell with the variables of production, this command must neither migrate nor fill those.
"""

import os
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from recipe_api.dev.bucket import Bucket
from recipe_api.dev.credentials import load_or_create_secret
from recipe_api.dev.errors import DevError
from recipe_api.dev.migrations import SOURCE_TREE, migrate
from recipe_api.dev.seaweedfs import REGION
from recipe_api.dev.signals import StopRequested, stop_on_signals
from recipe_api.dev.stack import BUCKET, Stack, embedded_stack
from recipe_api.server import server_options
from recipe_api.server.graceful import GracefulServer
from recipe_api.settings import MIN_SECRET_KEY_LENGTH, Settings
from recipe_api.storage.bucket.desired import DesiredState, lifecycle

HOST = "127.0.0.1"
_GRACEFUL = 5  # seconds for uploads in progress at shutdown
_BACKLOG = 128
_IGNORED_VARIABLES = (
    *("DATABASE_URL", "S3_BUCKET", "S3_ENDPOINT_URL", "S3_CHECKSUM", "S3_CONDITIONAL_WRITES", "PUBLIC_BASE_URL"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "ACCESSKEYID", "SECRETACCESSKEY"),
    *("BUCKETEER_AWS_ACCESS_KEY_ID", "BUCKETEER_AWS_SECRET_ACCESS_KEY", "BUCKETEER_AWS_REGION"),
    "BUCKETEER_BUCKET_NAME",
)
_SETTINGS = tuple(
    field.validation_alias for field in Settings.model_fields.values() if isinstance(field.validation_alias, str)
)
"""The variables of all settings except the credentials, which have several names."""

AppFactory = str | Callable[..., Any]


def serve_dev(*, port: int | None, folder: Path, app: AppFactory = "recipe_api.app:create_app") -> int:
    """Serve until a signal arrives, and return the exit code: 0 after a signal, 1 after an error, which is printed.

    Args:
        port: The port to listen on; if None, the variable PORT.
        folder: Holds all data.
        app: The factory of the ASGI application.

    Raises:
        SettingsError: A variable is invalid. Nothing has been started.
    """
    with stop_on_signals():
        try:
            _serve(port, folder.resolve(), app)
        except StopRequested:
            return 0
        except DevError as error:
            print(f"recipe-api dev: {error}", file=sys.stderr)
            return 1
    return 0


def _serve(port: int | None, folder: Path, app: AppFactory) -> None:
    for name in _IGNORED_VARIABLES:
        os.environ.pop(name, None)
    if port is None:
        port = _validate_settings(os.environ).port
    else:
        _validate_settings({**os.environ, "PORT": ""})
    with _open_listener(port) as listener:
        print("Starting PostgreSQL and the object store …", flush=True)
        with embedded_stack(folder) as stack:
            environment = _environment(stack, secret_key_file=folder / "secret-key", port=port)
            os.environ.update(environment)
            _write_environment({**_settings_of_this_shell(), **environment}, folder / "environment")
            settings = Settings.from_environment(os.environ)
            _set_lifecycle(stack, settings)
            migrate(stack.database_url)
            _Server(_configuration(app, settings), welcome=_welcome(settings, folder)).run(sockets=[listener])


def _set_lifecycle(stack: Stack, settings: Settings) -> None:
    """Set the lifecycle rules that `bucket setup` would set, so that the doctor does not ask for them."""
    bucket = Bucket(
        stack.s3_bucket,
        endpoint_url=stack.s3_endpoint_url,
        region=stack.aws_region,
        access_key_id=stack.access_key_id,
        secret_access_key=stack.secret_access_key,
    )
    with closing(bucket):
        bucket.set_lifecycle(lifecycle({}, DesiredState.of(settings))["Rules"])


def _validate_settings(environment: Mapping[str, str]) -> Settings:
    """Validate the settings before the services start, with placeholders for their addresses."""
    later = {"DATABASE_URL": "postgresql://127.0.0.1/recipes", "S3_BUCKET": BUCKET, "AWS_REGION": REGION}
    secret_key = environment.get("SECRET_KEY") or "x" * MIN_SECRET_KEY_LENGTH
    return Settings.from_environment({**environment, **later, "SECRET_KEY": secret_key})


def _environment(stack: Stack, *, secret_key_file: Path, port: int) -> dict[str, str]:
    # The key is stored, so that manage tokens stay valid from run to run.
    secret_key = os.environ.get("SECRET_KEY") or load_or_create_secret(secret_key_file)
    return {**stack.environment(), "SECRET_KEY": secret_key, "PORT": str(port)}


def _settings_of_this_shell() -> dict[str, str]:
    """Return the settings in this process's environment, such as CORS_ORIGINS."""
    return {name: os.environ[name] for name in _SETTINGS if name in os.environ}


def _write_environment(environment: Mapping[str, str], file: Path) -> None:
    """Write the variables as a shell script, so that other commands use the same services and settings."""
    unset = dict.fromkeys((*_IGNORED_VARIABLES, *_SETTINGS))
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(f"unset {' '.join(unset)}\n")
        opened.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


@contextmanager
def _open_listener(port: int) -> Iterator[socket.socket]:
    """Listen on the port. Requests that arrive during the start wait."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(_BACKLOG)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DevError(f"port {port} is not available ({reason}); choose another with --port") from None
        yield listener


def _configuration(app: AppFactory, settings: Settings) -> uvicorn.Config:
    options = server_options(settings) | {"timeout_graceful_shutdown": _GRACEFUL}
    return uvicorn.Config(app, factory=True, host=HOST, **options)


class _Server(GracefulServer):
    """Prints its addresses once it accepts requests."""

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
            raise DevError("the application did not start; see the log above")


def _welcome(settings: Settings, folder: Path) -> str:
    address = f"http://{HOST}:{settings.port}"
    token = '-H "Authorization: Bearer $TOKEN" ' if settings.api_tokens else ""
    hint = "\n                where TOKEN is one of the tokens in API_TOKENS" if token else ""
    return f"""
  Page          {address}/
  API docs      {address}/docs
  Upload        curl {token}-F label=Coffee -F photo=@{_example()} {address}/recipe{hint}
  Data          {folder}
  Settings      {folder / "environment"}, for other commands: sweep, doctor

Press Ctrl-C to stop. The data is kept.
"""


def _example() -> str:
    """Return the path of an example photo, quoted for a shell."""
    return shlex.quote(str(SOURCE_TREE / "examples" / "coffee.jpg"))
