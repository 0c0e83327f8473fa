"""Durations and spans of requests, by OpenTelemetry's semantic conventions for HTTP servers.

FastAPI and Starlette have such instrumentation too, but it takes several times the CPU time. It also puts the whole
path into spans, and the path of a staged upload contains a secret (docs/decisions/0029-telemetry.md).
"""

from collections.abc import Awaitable

from opentelemetry import context, propagate
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recipe_api.asgi import RequestHeaders, headers_of
from recipe_api.observability import request_id, without_secret
from recipe_api.telemetry.aggregates import Value
from recipe_api.telemetry.metrics import REQUEST_DURATION
from recipe_api.telemetry.observer import Observer
from recipe_api.web.middleware import RequestLog

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_OTHER = "_OTHER"
"""Replaces any other method, so that clients cannot create new time series."""
_METHOD_ATTRIBUTES = {method: {"http.request.method": method} for method in (*_METHODS, _OTHER)}
_NO_PARENT = context.Context()
_SERVER_ERROR = 500
_DISCONNECTED = "client_disconnected"


class ObservedRequestLog(RequestLog):
    """A `RequestLog` that also records the duration of each request."""

    def __init__(self, app: ASGIApp, *, observer: Observer) -> None:
        super().__init__(app)
        self._duration = observer.metrics.request_duration

    def request_ended(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Record the duration."""
        self._duration.record(seconds, *_attributes(scope, status))


class RequestSpan:
    """Creates a span for each request that is sampled. Others pass through at next to no cost.

    If the request has a `traceparent` header, the span continues the caller's trace, and the sampler follows the
    caller's decision, unless `OTEL_TRACES_SAMPLER` names one that ignores it.
    """

    def __init__(self, app: ASGIApp, *, observer: Observer) -> None:
        self._app = app
        self._observer = observer
        self._fields = frozenset(name.encode("latin-1") for name in propagate.get_global_textmap().fields)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or (span := self._begin(scope)) is None:
            return self._app(scope, receive, send)
        return self._in_span(span, scope, receive, send)

    def _begin(self, scope: Scope) -> Span | None:
        """Start the span of a request if it is sampled."""
        sampling, tracer = self._observer.sampling, self._observer.tracer
        if sampling is None or tracer is None:
            return None
        headers = headers_of(scope)
        has_parent = any(field in headers for field in self._fields)
        parent = propagate.extract(headers, getter=_HEADERS) if has_parent else _NO_PARENT
        method = _known_method(scope)
        attributes = _METHOD_ATTRIBUTES[method]
        if not sampling.accepts(parent, method, SpanKind.SERVER, attributes):
            return None
        return tracer.start_span(method, parent, SpanKind.SERVER, attributes)

    async def _in_span(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        status: int | None = None

        async def noted_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = context.attach(set_span_in_context(span))
        try:
            await self._app(scope, receive, noted_send)
        finally:
            context.detach(token)
            _end(span, scope, status)


class _Headers(Getter[RequestHeaders]):
    """Reads the headers of a request."""

    def get(self, carrier: RequestHeaders, key: str) -> list[str] | None:
        value = carrier.value(key.encode("latin-1"))
        return None if value is None else [value.decode("latin-1")]

    def keys(self, carrier: RequestHeaders) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier.fields]


_HEADERS = _Headers()


def _end(span: Span, scope: Scope, status: int | None) -> None:
    attributes = REQUEST_DURATION.named(_attributes(scope, status))
    if (route := attributes.get("http.route")) is not None:
        span.update_name(f"{attributes['http.request.method']} {route}")
    attributes["url.path"] = without_secret(scope["path"])
    attributes["http.response.header.x-request-id"] = request_id() or ""
    if (problem := scope.get("log", {}).get("problem")) is not None:
        attributes["recipe_api.problem"] = problem
    span.set_attributes(attributes)
    if "error.type" in attributes and status is not None:
        span.set_status(StatusCode.ERROR)
    span.end()


def _attributes(scope: Scope, status: int | None) -> tuple[Value, ...]:
    """Return the values of the attributes of `REQUEST_DURATION`."""
    route = getattr(scope.get("route"), "path_format", None)
    if route is not None:
        route = scope.get("root_path", "") + route
    return _known_method(scope), scope["scheme"], route, status, _error(scope, status)


def _error(scope: Scope, status: int | None) -> str | None:
    if status is None:
        return _DISCONNECTED
    if status < _SERVER_ERROR:
        return None
    return scope.get("log", {}).get("problem") or str(status)


def _known_method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in _METHODS else _OTHER
