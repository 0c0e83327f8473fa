"""Two instances behind a proxy, restarted in turn under load: no request may fail.

Their proxies keep connections open between requests. So a restart must not lose a connection that the system has
accepted but no worker has, nor a request that arrives on an idle connection.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from recipe_api.dev.stack import Stack
from tests.conftest import SECRET_KEY
from tests.support import haproxy, nginx
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.process import ServerProcess, serving

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]  # tests/server/test_stopping.py has its parts, one by one


@pytest.fixture
def start(stack: Stack, database_url: str, tmp_path: Path) -> Callable[[int], AbstractContextManager[ServerProcess]]:
    """Start an instance with two workers on this port."""
    environment = {
        **stack.environment(),
        "RENDITIONS": "none",
        "DATABASE_URL": database_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "warning",
        "MAX_UPLOADS_PER_CLIENT": "20",
    }
    return lambda port: serving(environment, workers=2, port=port, log=tmp_path / f"log-{port}")


@pytest.mark.timeout(600)  # four starts of two workers each, which compete with the load for the CPU
@pytest.mark.parametrize("proxy", [pytest.param(nginx, id="nginx"), pytest.param(haproxy, id="HAProxy")])
@pytest.mark.usefixtures("backstage")
def test_loses_no_request(
    start: Callable[[int], AbstractContextManager[ServerProcess]], proxy: ModuleType, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    with ExitStack() as opened:
        instances = {port: opened.enter_context(start(port)) for port in ports}
        load = Load(opened.enter_context(proxy.balanced(ports, folder=tmp_path)))
        with load.running():
            for port in ports:
                assert load.continues()
                instances[port].terminate()
                assert instances[port].wait() == 0
                instances[port] = opened.enter_context(start(port))
            assert load.continues()
    assert set(load.results) == {"GET 200", "POST 201"}, load.results
