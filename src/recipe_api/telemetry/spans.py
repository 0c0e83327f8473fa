"""Child spans of traced requests, and the `error.type` of failures."""

import asyncio
from collections.abc import Mapping

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span

from recipe_api.errors import RecipeApiError

CANCELLED = "cancelled"


def is_traced() -> bool:
    """Return whether the current request is traced."""
    return get_current_span().is_recording()


def child_span(
    tracer: Tracer | None, name: str, attributes: Mapping[str, str | int], *, kind: SpanKind = SpanKind.CLIENT
) -> Span | None:
    """Start a child of the current span, which the caller ends. Return None if the current span is not recorded."""
    if tracer is None or not is_traced():
        return None
    return tracer.start_span(name, kind=kind, attributes=attributes)


def end_span(span: Span | None, *, error: str | None) -> None:
    """End a span, if there is one. `error` is the `error.type` of a failure."""
    if span is None:
        return
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end()


def error_type(error: BaseException | None) -> str | None:
    """Return the `error.type` of a failure, which has low cardinality: the code of a problem, or a class name."""
    if error is None:
        return None
    if isinstance(error, RecipeApiError):
        return error.code
    return CANCELLED if isinstance(error, asyncio.CancelledError) else type(error).__qualname__
