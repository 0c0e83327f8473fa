"""Telemetry of `recipe-api serve`, whose processes are stopped by a signal."""

import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from recipe_api.dev.stack import Stack
from recipe_api.telemetry.exporter import FLUSH_SECONDS
from tests.conftest import SECRET_KEY
from tests.support.otlp import exporting_to, receiver
from tests.support.process import serving
from tests.support.service import NO_TLS, closed_port

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(stack: Stack, database_url: str) -> Mapping[str, str]:
    return {**stack.environment(), "DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "RENDITIONS": "none"}


def test_each_worker_exports_as_a_separate_instance_and_sends_the_rest_at_sigterm(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    with receiver() as received:
        exporting = exporting_to(received, OTEL_RESOURCE_ATTRIBUTES="service.instance.id=web.1,deployment=tests")
        with serving({**environment, **exporting}, workers=2, port=closed_port(), log=tmp_path / "log") as server:
            assert httpx.get(f"{server.url}/healthz", trust_env=False, verify=NO_TLS).status_code == 200
            server.terminate()
            assert server.wait() == 0
    instances = {resource["service.instance.id"] for resource in received.resources}
    assert len(instances) == 2
    assert "web.1" not in instances
    assert {resource["service.name"] for resource in received.resources} == {"recipe_api"}
    assert {resource["deployment"] for resource in received.resources} == {"tests"}
    assert {span.name for span in received.spans} == {"GET /healthz"}


def test_a_receiver_that_does_not_respond_delays_the_end_by_a_few_seconds(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{mute.getsockname()[1]}"}
        with serving({**environment, **exporting}, workers=1, port=closed_port(), log=tmp_path / "log") as server:
            os.kill(server.process.pid, signal.SIGINT)  # without the wait for idle connections
            began = time.monotonic()
            server.wait()
            assert time.monotonic() - began < FLUSH_SECONDS + 10, "the exporters' own timeouts should not apply"
            assert "stopped before all telemetry was sent" in (tmp_path / "log").read_text()
