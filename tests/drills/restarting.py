"""Services with two workers that are restarted under load, behind a proxy or by SIGHUP."""

import os
import shutil
import signal
from contextlib import ExitStack
from types import ModuleType

from tests.drills.stage import Stage
from tests.support import haproxy, nginx
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.traces import eventually

_ROUNDS = 2
_START_SECONDS = 60
_SHARE = {"MAX_UPLOADS_PER_CLIENT": "20"}


def restart_behind_nginx(stage: Stage) -> str:
    """Two instances behind nginx, restarted in turn under load, lose no request."""
    return _restarted_behind(nginx, stage)


def restart_behind_haproxy(stage: Stage) -> str:
    """Two instances behind HAProxy, restarted in turn under load, lose no request."""
    return _restarted_behind(haproxy, stage)


def reload_workers(stage: Stage) -> str:
    """SIGHUP replaces the workers one after another under load, and no request fails."""
    with stage.serving(_SHARE, workers=2) as server:
        assert eventually(lambda: len(server.workers()) == 2, within=_START_SECONDS)
        before = server.workers()
        load = Load(server.url)
        with load.running():
            assert load.continues()
            os.kill(server.process.pid, signal.SIGHUP)
            assert eventually(lambda: not any(worker.is_running() for worker in before), within=2 * _START_SECONDS)
            assert load.continues()
    return _without_failure(load)


def _restarted_behind(proxy: ModuleType, stage: Stage) -> str:
    name = proxy.__name__.rpartition(".")[2]
    assert shutil.which(name) or shutil.which(name, path="/usr/sbin"), f"{name} is not installed"
    ports = [free_port(), free_port()]
    with ExitStack() as opened:
        instances = {port: opened.enter_context(stage.serving(_SHARE, workers=2, port=port)) for port in ports}
        load = Load(opened.enter_context(proxy.balanced(ports, folder=stage.folder)))
        with load.running():
            for port in ports * _ROUNDS:
                assert load.continues()
                instances[port].terminate()
                assert instances[port].wait() == 0
                instances[port] = opened.enter_context(stage.serving(_SHARE, workers=2, port=port))
            assert load.continues()
    return _without_failure(load)


def _without_failure(load: Load) -> str:
    failed = {result: number for result, number in load.results.items() if result not in {"GET 200", "POST 201"}}
    assert not failed, f"of {load.results.total()} requests failed: {failed}"
    return f"0 of {load.results.total():,} requests failed"
