"""Adds the ids of the current trace and span to log lines, to correlate lines and traces."""

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span
from structlog.typing import EventDict


def add_span(_: object, __: str, event: EventDict) -> EventDict:
    """Add the ids if the current span is recorded; otherwise there is no trace to find."""
    span = get_current_span()
    if span.is_recording():
        context = span.get_span_context()
        event["trace_id"], event["span_id"] = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return event
