"""SIGTERM to a real server, with one process and with several: uploads may finish, and no new ones begin.

Uploads that never end are aborted and undone, as `test_departures` shows with a very short grace period, and
`scripts/crash-test` with the real one.
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from recipe_api.dev.stack import Stack
from recipe_api.settings import PART_SIZE
from tests.conftest import SECRET_KEY
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving
from tests.support.recipes import assert_stored
from tests.support.service import HOST
from tests.support.traces import Backstage, eventually
from tests.support.wire import Wire, request

PHOTO = jpeg(PART_SIZE + 500_000)
UPLOAD = request("/recipe", recipe_form(PHOTO), HEADER)


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def server(
    request: pytest.FixtureRequest,
    stack: Stack,
    database_url: str,
    backstage: Backstage,  # noqa: ARG001 - as usefixtures, which fixtures cannot have
    tmp_path: Path,
) -> Iterator[ServerProcess]:
    environment = {
        **stack.environment(),
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "info",
        "RENDITIONS": "none",
    }
    with serving(environment, workers=request.param, port=free_port(), log=tmp_path / "log") as running:
        assert eventually(lambda: running.log.read_text().count("Application startup complete") == request.param)
        yield running


def lines(server: ServerProcess, text: str) -> int:
    return server.log.read_text().count(text)


def test_an_upload_within_the_grace_period_finishes_and_no_new_one_is_accepted(
    server: ServerProcess, backstage: Backstage
) -> None:
    workers = len(server.workers())
    with socket.create_connection((HOST, server.port), timeout=60) as opened, ExitStack() as late:
        running = Wire(opened)
        running.send(UPLOAD[:-1000])
        assert eventually(lambda: len(backstage.multipart_uploads()) == 1)
        server.terminate()
        assert eventually(lambda: lines(server, '"Shutting down"') == workers)
        with suppress(ConnectionRefusedError):
            # Two processes share a socket that their parent holds. A new connection waits there and is never accepted.
            waiting = late.enter_context(socket.create_connection((HOST, server.port), timeout=60))
            waiting.sendall(request("/recipe", recipe_form(jpeg(100)), HEADER))

        running.send(UPLOAD[-1000:])
        response = running.read()

        assert server.wait() in {0, -signal.SIGTERM}
    assert response.status == 201
    assert_stored(response.json(), PHOTO, backstage)
    assert len(backstage.rows()) == 1
    assert lines(server, "Traceback") == lines(server, '"exception"') == 0
