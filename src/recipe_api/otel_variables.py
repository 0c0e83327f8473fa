"""Validates the variables of OpenTelemetry's SDK for Python that contain numbers.

The SDK reads them itself, after the service has started. If a value is invalid, it raises an error or, for some
variables, logs a traceback and uses its default.
"""

import re
from collections.abc import Iterator, Mapping

_WHOLE = (
    *("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"),
    *("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"),
    *("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
)
"""Milliseconds, and numbers of spans. None may be 0."""
_SECONDS = (
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
)
"""The specification uses milliseconds here, but the SDK for Python uses seconds."""
_LIMITS = (
    *("OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    *("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    *("OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
)
_QUEUE, _BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_DEFAULT_QUEUE, _DEFAULT_BATCH = "2048", "512"
_RATIO, _RATIO_SAMPLERS = "OTEL_TRACES_SAMPLER_ARG", {"traceidratio", "parentbased_traceidratio"}


def complaints(values: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that the SDK would not accept."""
    for names, is_valid, what in _RULES:
        for name in names:
            if name in values and not is_valid(values[name]):
                yield f"{name}: must be {what}"
    queue, batch = values.get(_QUEUE, _DEFAULT_QUEUE), values.get(_BATCH, _DEFAULT_BATCH)
    if _is_whole(queue) and _is_whole(batch) and int(batch) > int(queue):
        yield f"{_BATCH}: {batch} is above the limit of {_QUEUE}, {queue}"
    if values.get("OTEL_TRACES_SAMPLER", "").lower() in _RATIO_SAMPLERS and not _is_ratio(values.get(_RATIO, "1")):
        yield f"{_RATIO}: must be a number from 0 to 1, such as 0.01"


def _is_whole(text: str, *, minimum: int = 1) -> bool:
    return re.fullmatch(r"[0-9]{1,15}", text) is not None and int(text) >= minimum


def _is_limit(text: str) -> bool:
    return _is_whole(text, minimum=0)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"(\d+\.?\d*|\.\d+)(e-?\d{1,2})?", text, re.ASCII | re.IGNORECASE) is not None


def _is_duration(text: str) -> bool:
    return _is_number(text) and float(text) > 0


def _is_ratio(text: str) -> bool:
    return _is_number(text) and float(text) <= 1


_RULES = (
    (_WHOLE, _is_whole, "a whole number above 0, without a unit, such as 5000"),
    (_SECONDS, _is_duration, "a number of seconds above 0, without a unit, such as 10"),
    (_LIMITS, _is_limit, "a whole number, such as 128"),
)
