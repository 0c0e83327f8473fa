"""Renders every error as a problem document (RFC 9457), or as an HTML page for the plain form.

A problem's `type` is `/problems/{code}`, where the service also explains it. The document of an unexpected error
contains the request's id, and nothing about the error.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from recipe_api.errors import (
    FieldEmpty,
    FieldMissing,
    InvalidParameter,
    InvalidText,
    PermissionDenied,
    QuotaExceeded,
    RecipeApiError,
    RequestRefused,
    ServiceStopping,
    TokenRequired,
    UnknownToken,
    UnsupportedEncoding,
    UnsupportedTusVersion,
    WrongOffset,
)
from recipe_api.observability import request_id
from recipe_api.web import plain_form, rate_limit
from recipe_api.web.body import fault
from recipe_api.web.root_path import address, root_path
from recipe_api.web.schemas import Problem
from recipe_api.web.tus_headers import VERSION

MEDIA_TYPE = "application/problem+json"
INTERNAL_ERROR_DETAIL = "The service failed unexpectedly. The error is in its log under this request_id."

HTTP_CODES = {404: "not-found", 405: "method-not-allowed"}
"""The codes of problems that the framework detects, by status."""

TEXT_ERRORS = (FieldMissing, FieldEmpty, InvalidText)
"""The errors that any request with a label can cause."""

_RETRY_AFTER: dict[str, Any] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}

CORS_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
"""The methods that pages of other origins may use."""

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_CHALLENGES: dict[type[RecipeApiError], str] = {  # RFC 6750 §3.1; the last one that matches is sent
    TokenRequired: 'Bearer realm="recipe_api"',
    UnknownToken: 'Bearer realm="recipe_api", error="invalid_token"',
    PermissionDenied: 'Bearer realm="recipe_api", error="insufficient_scope"',
}

_log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    """Register the exception handlers of `app`."""
    app.add_exception_handler(RecipeApiError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)


def problem(
    scope: Scope,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    field: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem as the response to the request of this scope."""
    document = Problem(
        type=address(scope, f"/problems/{code}"),
        title=title,
        status=status,
        detail=detail,
        field=field,
        request_id=request_id(),
    )
    headers = headers or {}
    if plain_form.wants_html(scope):
        return plain_form.problem_page(scope, document, headers=headers)
    if plain_form.has_html_response(scope):
        headers = {**headers, **plain_form.VARY}
    return JSONResponse(document.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def responses(*errors: type[RecipeApiError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of these errors, one per status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in sorted(errors, key=lambda error: error.status):
        example = {
            "type": f"/problems/{error.code}",
            "title": error.title,
            "status": error.status,
            "detail": "…",
        }
        entry = by_status.setdefault(
            error.status,
            {"description": HTTPStatus(error.status).phrase, "content": {MEDIA_TYPE: {"examples": {}}}},
        )
        entry["content"][MEDIA_TYPE]["schema"] = {"$ref": "#/components/schemas/Problem"}
        if error.retry_after is not None:
            entry["headers"] = {**entry.get("headers", {}), **_RETRY_AFTER}
        if issubclass(error, QuotaExceeded):
            entry["headers"] = {**entry.get("headers", {}), **rate_limit.OPENAPI}
        entry["content"][MEDIA_TYPE]["examples"][error.code] = {"summary": error.title, "value": example}
    return by_status


def internal_error(scope: Scope) -> Response:
    """Return the response to a request that failed with an unexpected error."""
    return _rendered(scope, RecipeApiError(INTERNAL_ERROR_DETAIL))


def stopping(scope: Scope) -> Response:
    """Return the response to a request that is cancelled because the process stops."""
    return _rendered(scope, ServiceStopping("This process is shutting down. Send the request again in a moment."))


def preflight_rejected(scope: Scope, *, reason: str, headers: dict[str, str]) -> Response:
    """Return the response to a CORS preflight request that is rejected."""
    scope["log"]["problem"] = RequestRefused.code
    origin = Headers(scope=scope)["origin"]
    rule = f"Pages may call the API from the origins in CORS_ORIGINS, with {', '.join(CORS_METHODS)}."
    return problem(
        scope,
        status=RequestRefused.status,
        code=RequestRefused.code,
        title=RequestRefused.title,
        detail=f"{reason}: the page is from {origin}. {rule}",
        headers=headers,
    )


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecipeApiError)  # noqa: S101 - the handler is registered for nothing else
    request.scope["log"]["problem"] = error.code
    return _rendered(request.scope, error)


def _rendered(scope: Scope, error: RecipeApiError) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, ServiceStopping):
        headers["Connection"] = "close"
    if isinstance(error, UnsupportedEncoding):
        headers["Accept-Encoding"] = "identity"  # RFC 9110 §12.5.3
    if isinstance(error, WrongOffset):
        headers["Upload-Offset"] = str(error.offset)
    if isinstance(error, QuotaExceeded):
        headers |= rate_limit.fields(error.allowances)
    if isinstance(error, UnsupportedTusVersion):
        headers["Tus-Version"] = VERSION
    for kind, challenge in _CHALLENGES.items():
        if isinstance(error, kind):
            headers["WWW-Authenticate"] = challenge
    return problem(
        scope,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        field=error.field,
        headers=headers,
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for nothing else
    phrase = HTTPStatus(error.status_code).phrase
    code = request.scope["log"]["problem"] = HTTP_CODES.get(error.status_code, "http-error")
    headers, path = dict(error.headers or {}), request.scope["path"]  # the URL would contain the client's Host header
    detail = f"{request.method} {path} failed."
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is nothing at {path}. {address(request.scope, '/docs')} describes the API."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        if allowed := _allowed(request):
            headers["Allow"] = ", ".join(allowed)
        detail = f"{path} does not support {request.method}."
        detail += f" Use one of {headers['Allow']}." if "Allow" in headers else ""
    return problem(
        request.scope,
        status=error.status_code,
        code=code,
        title=phrase,
        detail=detail,
        headers=headers,
    )


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes with this path; the router knows only those of the first one."""

    def is_route(method: str) -> bool:
        scope = {
            "type": "http",
            "method": method,
            "path": request.scope["path"],
            "root_path": root_path(request.scope),
            "headers": [],
        }
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    allowed = [method for method in _METHODS if is_route(method)]
    return [*allowed, "HEAD"] if "GET" in allowed else allowed


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for nothing else
    return await _on_error(request, invalid_parameter(error.errors()[0]))


def invalid_parameter(error: Mapping[str, Any]) -> InvalidParameter:
    """Return the error for one of Pydantic's errors about a parameter."""
    name = str(error["loc"][-1])
    return InvalidParameter(f"{name}: {fault(error)}", field=name)
