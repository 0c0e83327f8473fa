"""The conversion of our histograms to OpenTelemetry's data classes."""

from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
)

from recipe_api.telemetry.aggregates import Description
from recipe_api.telemetry.aggregates import Histogram as Ours
from recipe_api.telemetry.conversion import Conversion

DESCRIPTION = Description(
    name="ours", kind="histogram", unit="s", text="What we measure.", attributes=("way", "error.type")
)


def exports(temporality: AggregationTemporality) -> list[HistogramDataPoint]:
    """Record 0.1, export, record 0.2 and 5, export; return the points of the second export."""
    reader = InMemoryMetricReader(preferred_temporality={SdkHistogram: temporality})
    anchor = MeterProvider([reader], shutdown_on_exit=False).get_meter("tests").create_histogram("anchor")
    ours = Ours(DESCRIPTION, (0.1, 1))
    conversion = Conversion([ours])
    points: list[HistogramDataPoint] = []
    for measurements in ((0.1,), (0.2, 5)):
        anchor.record(1)
        for measurement in measurements:
            ours.record(measurement, "form", None)
        collected = reader.get_metrics_data()
        assert collected is not None
        *_, metric = conversion.added_to(collected).resource_metrics[0].scope_metrics[0].metrics
        points = _points(metric, temporality)
    return points


def _points(metric: Metric, temporality: AggregationTemporality) -> list[HistogramDataPoint]:
    assert (metric.name, metric.unit, metric.description) == ("ours", "s", "What we measure.")
    assert isinstance(metric.data, Histogram)
    assert metric.data.aggregation_temporality is temporality
    return list(metric.data.data_points)


def test_a_cumulative_export_contains_all_measurements() -> None:
    (point,) = exports(AggregationTemporality.CUMULATIVE)
    assert (point.count, point.bucket_counts, round(point.sum, 6)) == (3, [1, 1, 1], 5.3)
    assert point.attributes == {"way": "form"}, "an attribute without a value should be left out"


def test_an_export_of_deltas_contains_what_is_new() -> None:
    (point,) = exports(AggregationTemporality.DELTA)
    assert (point.count, point.bucket_counts, round(point.sum, 6)) == (2, [0, 1, 1], 5.2)
    (cumulative,) = exports(AggregationTemporality.CUMULATIVE)
    assert point.start_time_unix_nano < point.time_unix_nano < cumulative.time_unix_nano
