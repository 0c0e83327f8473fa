"""Prometheus (Debian's package, if installed), which scrapes the metrics that an OTLP receiver has collected.

Metrics and labels get the names of OpenTelemetry's specification for Prometheus, and the attributes of the resource
become labels, as in the collector's exporter with `resource_to_telemetry_conversion`
(https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/).
"""

import math
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from recipe_api.dev.child import Child, Program
from recipe_api.dev.unprivileged import unprivileged
from tests.support.otlp import Received, attributes
from tests.support.ports import accepts, free_port
from tests.support.server_thread import serving_in_thread
from tests.support.service import HOST

_CONFIGURATION = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1h}}
scrape_configs:
  - job_name: collector
    honor_labels: true
    static_configs: [{{targets: ["{target}"]}}]
"""
_UNITS = {"s": "_seconds", "By": "_bytes"}


def required(program: str) -> str:
    """Return the path of one of Prometheus' programs; skip the test if it is not installed."""
    found = shutil.which(program, path=os.environ.get("PATH", os.defpath))
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install prometheus)")
    return found


class Prometheus:
    """A running server."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current series of an expression, without those whose value is NaN."""
        response = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert response["status"] == "success", (expression, response)
        return [series for series in response["data"]["result"] if not math.isnan(float(series["value"][1]))]


@contextmanager
def prometheus(folder: Path, received: Received) -> Iterator[Prometheus]:
    """Run Prometheus until the block ends."""
    program, port = required("prometheus"), free_port()
    with _exposing(received) as target:
        configuration = folder / "prometheus.yml"
        configuration.write_text(_CONFIGURATION.format(target=target))
        options = [f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
        child = Child(
            Program(
                command=unprivileged(
                    [program, *options, f"--web.listen-address={HOST}:{port}"],
                    data=folder,
                    parent_death_signal=signal.SIGTERM,
                ),
                folder=folder,
                log=folder / "prometheus.log",
                environment={},
                stop_signal=signal.SIGTERM,
                grace=10,
            )
        )
        try:
            assert child.wait_until_ready(partial(accepts, port), seconds=30), child.start_error()
            with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
                yield Prometheus(client)
        finally:
            child.stop()


@contextmanager
def _exposing(received: Received) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write("".join(f"{line}\n" for line in exposition(received)).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server, serving_in_thread(server, name="exposition"):
        yield f"{HOST}:{server.server_port}"


def exposition(received: Received) -> Iterator[str]:
    """Yield the lines of Prometheus' text format."""
    for exported in tuple(received.latest.values()):
        resource = attributes(exported.resource.attributes)
        for scope in exported.scope_metrics:
            for metric in scope.metrics:
                yield from _lines(metric, resource)


def _lines(metric: Metric, resource: Mapping[str, Any]) -> Iterator[str]:
    kind = metric.WhichOneof("data")
    assert kind is not None
    name = re.sub("[^a-z0-9_]", "_", metric.name) + _UNITS.get(metric.unit, "")
    if kind == "sum" and metric.sum.is_monotonic:
        name += "_total"
    for point in getattr(metric, kind).data_points:
        labels = {**resource, **attributes(point.attributes)}
        if kind != "histogram":
            yield f"{name}{_labels(labels)} {getattr(point, point.WhichOneof('value'))}"
            continue
        below = 0
        for bound, count in zip((*point.explicit_bounds, "+Inf"), point.bucket_counts, strict=True):
            below += count
            yield f"{name}_bucket{_labels({**labels, 'le': bound})} {below}"
        yield f"{name}_count{_labels(labels)} {point.count}"
        yield f"{name}_sum{_labels(labels)} {point.sum}"


def _labels(values: Mapping[str, Any]) -> str:
    pairs = (f'{re.sub("[^a-zA-Z0-9_]", "_", name)}="{value}"' for name, value in values.items())
    return f"{{{','.join(pairs)}}}"
