"""The choice of exported signals. With none, telemetry costs nothing."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from recipe_api.app import create_app
from recipe_api.settings import Settings, SettingsError, TelemetrySettings
from recipe_api.telemetry.selection import telemetry_of
from recipe_api.web.middleware import RequestLog
from tests.support.log import lines_logged

ENDPOINT = "http://127.0.0.1:4318"
BOTH = {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}


@pytest.mark.parametrize(
    ("environment", "metrics", "traces"),
    [
        ({}, False, False),
        (BOTH, True, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ENDPOINT}, True, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ENDPOINT}, False, True),
        ({**BOTH, "OTEL_TRACES_EXPORTER": "none"}, True, False),
        ({**BOTH, "OTEL_METRICS_EXPORTER": "none"}, False, True),
        ({**BOTH, "OTEL_SDK_DISABLED": "TRUE"}, False, False),
        ({**BOTH, "OTEL_SDK_DISABLED": "1"}, True, True),
    ],
)
def test_the_standard_variables_select_the_signals(
    environment: dict[str, str],
    metrics: bool,  # noqa: FBT001 - a parameter of the test
    traces: bool,  # noqa: FBT001
) -> None:
    settings = TelemetrySettings.from_environment(environment)
    assert (settings.exports_metrics, settings.exports_traces) == (metrics, traces)
    telemetry = telemetry_of(settings)
    assert (telemetry.observer is not None, telemetry.exports_traces) == (metrics or traces, traces)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "abc"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
        ("OTEL_TRACES_SAMPLER_ARG", "1%"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ],
)
def test_numbers_that_the_sdk_would_not_accept_are_rejected_in_one_line(name: str, value: str) -> None:
    environment = {"OTEL_TRACES_SAMPLER": "traceidratio", name: value}
    with pytest.raises(SettingsError, match=f"^{name}: .+$"):
        TelemetrySettings.from_environment(BOTH | environment)
    assert not TelemetrySettings.from_environment(environment).exports_traces, (
        "without an endpoint, the variable should be ignored"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2.5"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("OTEL_TRACES_SAMPLER_ARG", "1e-3"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.0"),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", ""),
    ],
)
def test_other_numbers_are_left_to_the_sdk(name: str, value: str) -> None:
    TelemetrySettings.from_environment({**BOTH, "OTEL_TRACES_SAMPLER": "traceidratio", name: value})


def test_without_an_endpoint_no_request_passes_through_telemetry(make_settings: Callable[..., Settings]) -> None:
    stack = [str(each.cls) for each in create_app(make_settings()).user_middleware]
    assert str(RequestLog) in stack
    assert not [name for name in stack if "telemetry" in name]


async def test_without_the_packages_a_service_warns_once_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "recipe_api.telemetry.exporter", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)  # as if it were not installed
    telemetry = telemetry_of(TelemetrySettings.from_environment(BOTH))
    with lines_logged() as lines:
        async with telemetry.running():
            assert telemetry.observer is None
    (line,) = [json.loads(text) for text in lines.text]
    assert (line["level"], line["event"][:13]) == ("warning", "no telemetry:")


@pytest.mark.slow
def test_a_service_without_telemetry_does_not_import_the_sdk() -> None:
    script = """
import sys
import recipe_api.cli, recipe_api.composition, recipe_api.telemetry.selection
from recipe_api.settings import TelemetrySettings
recipe_api.telemetry.selection.telemetry_of(TelemetrySettings.from_environment({}))
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "requests"))])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
