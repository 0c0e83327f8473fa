"""Processes that are killed, keep dying, or lose their supervisor; keys that are rotated."""

import os
import signal
import socket

import psutil

from recipe_api.server.workers import MAX_DEATHS
from tests.drills.stage import Stage, client_of, upload
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.process import ServerProcess
from tests.support.service import HOST
from tests.support.traces import eventually
from tests.support.wire import Wire, request

_UPLOAD = request("/recipe", recipe_form(jpeg(50_000)), HEADER)
_START_SECONDS = 60


def killed_worker(stage: Stage) -> str:
    """A worker that is killed is replaced, and logged with its signal."""
    with stage.serving(workers=2) as server:
        first, _ = _started(server)
        first.kill()
        assert eventually(lambda: bool(stage.warned("worker died")))
        [line] = stage.warned("worker died")
        assert (line["pid"], line["signal"], line["hint"]) == (first.pid, "SIGKILL", "out of memory?"), line
        _started(server)
        with client_of(server) as client:
            upload(client, 5)
    return "replaced; logged as SIGKILL, out of memory?"


def dying_workers(stage: Stage) -> str:
    """Workers that keep dying end the service with an error."""
    with stage.serving(workers=2) as server:

        def kill_workers() -> bool:
            for worker in server.workers():
                if worker.pid != server.process.pid:
                    worker.kill()
            return server.process.poll() is not None

        def has_ended() -> bool:
            try:
                return kill_workers()
            except psutil.NoSuchProcess:
                return False

        assert eventually(has_ended, within=_START_SECONDS)
        assert server.process.returncode == 3, server.process.returncode
    assert len(stage.warned("service stopped: workers keep dying")) == 1
    return f"exit code 3 after {MAX_DEATHS} deaths"


def killed_supervisor(stage: Stage) -> str:
    """Workers whose supervisor is killed finish their uploads and free the port."""
    with stage.serving(workers=2) as server:
        workers = _started(server)
        with socket.create_connection((HOST, server.port), timeout=60) as connection:
            wire = Wire(connection)
            wire.send(_UPLOAD[:-1000])
            assert eventually(lambda: any(len(worker.net_connections()) > 1 for worker in workers))
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
            wire.send(_UPLOAD[-1000:])
            status = wire.read().status
        assert status == 201, status
        assert eventually(lambda: not any(worker.is_running() for worker in workers), within=_START_SECONDS)
        with stage.serving(workers=2, port=server.port) as next_server, client_of(next_server) as client:
            upload(client)
    return "the upload in progress got 201, and the next server got the port"


def rotated_secret_key(stage: Stage) -> str:
    """With a new SECRET_KEY in front of the old one, earlier manage tokens stay valid."""
    keys = ("a-first-key-of-the-drills-a-first-key", "a-second-key-of-the-drills-a-second-key")
    with stage.serving({"SECRET_KEY": keys[0]}) as server, client_of(server) as client:
        old = upload(client, 2)
    statuses = []
    for secret_key, recipe in ((",".join(reversed(keys)), old[0]), (keys[1], old[1])):
        with stage.serving({"SECRET_KEY": secret_key}) as server, client_of(server) as client:
            token = {"Authorization": f"Bearer {recipe['manage_token']}"}
            statuses.append(client.delete(f"/recipe/{recipe['id']}", headers=token).status_code)
    assert statuses == [204, 403], statuses
    return "the old token works while the old key is listed (204), but not afterwards (403)"


def _started(server: ServerProcess) -> list[psutil.Process]:
    assert eventually(lambda: len(server.workers()) == 2, within=_START_SECONDS)
    return server.workers()
