"""The queries of the dashboard and of the alerts, in a real Prometheus with metrics of a real service."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from recipe_api.dev.stack import Stack
from recipe_api.settings import Settings
from tests.support.commands import run_command
from tests.support.fault_proxy import StoreProxy
from tests.support.forms import jpeg
from tests.support.otlp import Received, exporting_to, receiver
from tests.support.prometheus import Prometheus, prometheus, required
from tests.support.proxy import Fault, Plan
from tests.support.samples import sample
from tests.support.service import Service, running
from tests.support.traces import Backstage, eventually
from tests.telemetry.test_documents import FOLDER, alerts, queries
from tests.telemetry.test_export import upload

pytestmark = pytest.mark.slow

RARE = {"Memory wait time, p95", "RenditionsFail"}
"""Queries without a value while there is enough memory and no renderer is killed."""
FAILED = 'http_server_request_duration_seconds_count{error_type="storage-unavailable"}'


def test_the_rules_are_valid() -> None:
    checked = subprocess.run([required("promtool"), "check", "rules", FOLDER / "alerts.yaml"], check=False)
    assert checked.returncode == 0


def test_every_query_of_the_dashboard_and_the_alerts_finds_series(
    make_settings: Callable[..., Settings],
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    backstage: Backstage,
    tmp_path: Path,
) -> None:
    required("prometheus")
    tmp_path.chmod(0o755)
    with receiver() as received, StoreProxy.before(stack.s3_endpoint_url).running() as store:
        environment = exporting_to(received, OTEL_METRIC_EXPORT_INTERVAL="200", OTEL_TRACES_EXPORTER="none")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = make_settings(**environment, S3_ENDPOINT_URL=store.url, RENDITIONS="320")
        with prometheus(tmp_path, received) as server, running(settings) as service:
            for failed in (1, 2):  # a rate needs two samples
                use(service, store, backstage)
                assert eventually(partial(has_series, server, f"{FAILED} == {failed}"))
            sweep(stack, received, make_settings)
            expressions = [
                *(query.replace("$__rate_interval", "5m") for title, query in queries() if title not in RARE),
                # Replaces the comparison, so that the expression has a value whenever both sides have one.
                *(query.replace(" > ", " + ") for name, query in alerts().items() if name not in RARE),
            ]
            assert len(expressions) > 40
            assert eventually(lambda: all(has_series(server, each) for each in expressions)), [
                each for each in expressions if not has_series(server, each)
            ]


def use(service: Service, store: StoreProxy, backstage: Backstage) -> None:
    """Make everything happen that has metrics: uploads, renditions, a retried call to the store, and failures."""
    assert upload(service, sample("hopper.jpg")) == 201
    assert upload(service, jpeg(50_000)) == 201  # which no decoder accepts
    assert eventually(lambda: backstage.sql("SELECT 1 FROM recipe WHERE placeholder IS NOT NULL") != [])
    store.script.follow(Plan(call="PutObject", fault=Fault.SLOW_DOWN))
    assert upload(service, sample("hopper.jpg")) == 201
    store.script.follow(Plan(call="PutObject", fault=Fault.FORBIDDEN, forever=True))
    assert upload(service, sample("hopper.jpg")) == 503
    store.script.follow()
    with service.client() as client:
        assert client.get("/recipe").status_code == 200


def sweep(stack: Stack, received: Received, make_settings: Callable[..., Settings]) -> None:
    """Run a sweep that exports its findings."""
    environment = {
        **stack.environment(),
        "SECRET_KEY": make_settings().secret_keys[0].get_secret_value(),
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{received.url}/v1/metrics",
    }
    assert run_command(environment, "sweep").returncode in {0, 1}


def has_series(server: Prometheus, expression: str) -> bool:
    """Return whether an expression has a value."""
    return server.query(expression) != []
