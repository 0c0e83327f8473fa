"""Converts our histograms to OpenTelemetry's data classes.

The SDK has no instrument that accepts a complete histogram. But its exporters receive instances of documented data
classes (`opentelemetry.sdk.metrics.export`), so the exporter adds ours to what the SDK has collected. Counters and
gauges need no conversion: the SDK reads them through observable instruments.
"""

import time
from collections.abc import Iterator, Sequence

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData

from recipe_api.telemetry.aggregates import Distribution, Histogram, Value


class HistogramExporter(OTLPMetricExporter):
    """An OTLP exporter that also exports our histograms.

    They get the temporality of the SDK's own histograms, of which there is always one. So
    `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` applies to them as well.
    """

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        super().__init__()
        self.conversion = Conversion(histograms)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: object
    ) -> MetricExportResult:
        """Export what the SDK has collected, and the histograms."""
        return super().export(self.conversion.added_to(metrics_data), timeout_millis, **kwargs)


class Conversion:
    """Converts histograms. For delta temporality, it keeps their state at the previous export."""

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        self._histograms = histograms
        self._exported: dict[tuple[str, tuple[Value, ...]], Distribution] = {}
        self._began = self._previous = time.time_ns()

    def added_to(self, collected: MetricsData) -> MetricsData:
        """Return what the SDK has collected, with the histograms in its first scope, which is ours."""
        first, *resources = collected.resource_metrics
        scope, *scopes = first.scope_metrics
        metrics = [*scope.metrics, *self._converted(_temporality(scope.metrics))]
        extended = ScopeMetrics(scope.scope, metrics, scope.schema_url)
        return MetricsData([ResourceMetrics(first.resource, [extended, *scopes], first.schema_url), *resources])

    def _converted(self, temporality: AggregationTemporality) -> Iterator[Metric]:
        now = time.time_ns()
        is_delta = temporality is AggregationTemporality.DELTA
        since = self._previous if is_delta else self._began
        for histogram in self._histograms:
            points = [
                _point(histogram, values, self._new(histogram, values, found) if is_delta else found, (since, now))
                for values, found in histogram.distributions()
            ]
            described = histogram.description
            if points:
                yield Metric(described.name, described.text, described.unit, HistogramData(points, temporality))
        self._previous = now

    def _new(self, histogram: Histogram, values: tuple[Value, ...], found: Distribution) -> Distribution:
        key = histogram.description.name, values
        earlier = self._exported.get(key, histogram.nothing())
        self._exported[key] = found
        return found - earlier


def _temporality(metrics: Sequence[Metric]) -> AggregationTemporality:
    found = (each.data.aggregation_temporality for each in metrics if isinstance(each.data, HistogramData))
    return next(found, AggregationTemporality.CUMULATIVE)


def _point(
    histogram: Histogram, values: tuple[Value, ...], found: Distribution, period: tuple[int, int]
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=histogram.description.named(values),
        start_time_unix_nano=period[0],
        time_unix_nano=period[1],
        count=sum(found.counts),
        sum=found.total,
        bucket_counts=found.counts,
        explicit_bounds=histogram.bounds,
        min=None,  # type: ignore[arg-type]  # optional in OTLP, and meaningless over the lifetime of a process
        max=None,  # type: ignore[arg-type]
    )
