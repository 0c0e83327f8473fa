"""Spans of what happens within a traced request, and the names of failures."""

import asyncio
from collections.abc import Mapping

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span

from recipe_api.errors import RecipeApiError

CANCELLED = "cancelled"


def child_span(
    tracer: Tracer | None, name: str, attributes: Mapping[str, str | int], *, kind: SpanKind = SpanKind.CLIENT
) -> Span | None:
    """Start a span within the current one; return None if that is not recorded. The caller ends it."""
    if tracer is None or not get_current_span().is_recording():
        return None
    return tracer.start_span(name, kind=kind, attributes=attributes)


def end_span(span: Span | None, *, error: str | None) -> None:
    """End a span, if there is one, with the name of a failure, if there is one."""
    if span is None:
        return
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end()


def error_type(error: BaseException | None) -> str | None:
    """Return the name of a failure, of which there are few: the code of a problem, or a class."""
    if error is None:
        return None
    if isinstance(error, RecipeApiError):
        return error.code
    return CANCELLED if isinstance(error, asyncio.CancelledError) else type(error).__qualname__
