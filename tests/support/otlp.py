"""An OTLP receiver over HTTP that records what it receives."""

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.server_thread import serving_in_thread


@dataclass
class Received:
    """The data that a receiver has recorded. A later export of a metric replaces an earlier one."""

    url: str
    metrics: dict[str, Metric] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    latest: dict[str, ResourceMetrics] = field(default_factory=dict)
    """The latest metrics of each process, by `service.instance.id`."""

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """Return the data points of a metric by their attributes."""
        metric = self.metrics[name]
        kind = metric.WhichOneof("data")
        assert kind is not None
        return {
            tuple(sorted(attributes(point.attributes).items())): point for point in getattr(metric, kind).data_points
        }

    def span(self, name: str) -> Span:
        """Return the only span with this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def keep(self, path: str, body: bytes) -> bytes:
        """Record the content of a request, and return that of the response."""
        if path == "/v1/metrics":
            for resource_metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self._note(resource_metrics.resource)
                self.latest[self.resources[-1]["service.instance.id"]] = resource_metrics
                self.metrics |= {
                    metric.name: metric for scope in resource_metrics.scope_metrics for metric in scope.metrics
                }
            return bytes(ExportMetricsServiceResponse().SerializeToString())
        assert path == "/v1/traces"
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            self._note(resource_spans.resource)
            self.spans += [span for scope in resource_spans.scope_spans for span in scope.spans]
        return bytes(ExportTraceServiceResponse().SerializeToString())

    def _note(self, resource: Resource) -> None:
        self.resources.append(attributes(resource.attributes))


def attributes(pairs: Iterator[KeyValue] | Any) -> dict[str, Any]:  # noqa: ANN401 - a container of protobuf's
    """Return attributes as a dictionary."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:  # noqa: ANN401 - whatever the attribute is
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    return None if kind is None else getattr(value, kind)


@contextmanager
def receiver() -> Iterator[Received]:
    """Run a receiver on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            response = received.keep(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}")
        with serving_in_thread(server, name="OTLP receiver"):
            yield received


def exporting_to(received: Received, **more: str) -> Mapping[str, str]:
    """Return the environment that makes a service export to a receiver. Metrics arrive when the service stops."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, "OTEL_METRIC_EXPORT_INTERVAL": "3600000", **more}
