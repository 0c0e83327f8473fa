"""Every error as a problem document, rendered in one place.

A problem's `type` is `/problems/{code}`, where the service itself says what it means. Unexpected faults show the
request's id and nothing else.
"""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount

from recipe_api.errors import (
    FieldEmpty,
    FieldMissing,
    InvalidParameter,
    InvalidText,
    RecipeApiError,
    ServiceStopping,
    TokenRefused,
    TokenUnknown,
    TokenWanted,
)
from recipe_api.observability import request_id
from recipe_api.web.schemas import Problem

MEDIA_TYPE = "application/problem+json"
FAULT_DETAIL = "Something went wrong on our side, and has been logged under this request_id."

HTTP_CODES = {404: "not-found", 405: "method-not-allowed"}
"""The codes of problems that the framework finds, by status."""

TEXT_ERRORS = (FieldMissing, FieldEmpty, InvalidText)
"""What can be wrong with a label, wherever one is sent."""

_RETRY_AFTER: dict[str, Any] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_CHALLENGES: dict[type[RecipeApiError], str] = {  # RFC 6750 §3.1; of two that fit, the later one holds
    TokenWanted: 'Bearer realm="recipe_api"',
    TokenUnknown: 'Bearer realm="recipe_api", error="invalid_token"',
    TokenRefused: 'Bearer realm="recipe_api", error="insufficient_scope"',
}

_log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    """Makes `app` answer every error with a problem document."""
    app.add_exception_handler(RecipeApiError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)


def problem(
    *, status: int, code: str, title: str, detail: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem document as a response."""
    document = Problem(
        type=f"/problems/{code}", title=title, status=status, detail=detail, field=field, request_id=request_id()
    )
    return JSONResponse(document.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def responses(*errors: type[RecipeApiError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses that these errors stand for, one a status."""
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
            entry["headers"] = _RETRY_AFTER
        entry["content"][MEDIA_TYPE]["examples"][error.code] = {"summary": error.title, "value": example}
    return by_status


def fault() -> Response:
    """The answer to a fault of ours."""
    return problem(
        status=RecipeApiError.status, code=RecipeApiError.code, title=RecipeApiError.title, detail=FAULT_DETAIL
    )


def stopping() -> Response:
    """The answer to what the server cancels because its process stops."""
    return _rendered(ServiceStopping("The process that worked on this stops; send it again in a moment."))


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecipeApiError)  # noqa: S101 - the handler is registered for nothing else
    request.scope["log"]["problem"] = error.code
    return _rendered(error)


def _rendered(error: RecipeApiError) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    for kind, challenge in _CHALLENGES.items():
        if isinstance(error, kind):
            headers["WWW-Authenticate"] = challenge
    return problem(
        status=error.status, code=error.code, title=error.title, detail=error.detail, field=error.field, headers=headers
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for nothing else
    phrase = HTTPStatus(error.status_code).phrase
    code = request.scope["log"]["problem"] = HTTP_CODES.get(error.status_code, "http-error")
    headers, advice = dict(error.headers or {}), ""
    if error.status_code == HTTPStatus.NOT_FOUND:
        advice = " See /docs for what there is."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        if allowed := _allowed(request):
            headers["Allow"] = ", ".join(allowed)
        advice = f" Use one of {headers['Allow']}." if "Allow" in headers else ""
    return problem(
        status=error.status_code,
        code=code,
        title=phrase,
        # Not its url, which the Host header has part in.
        detail=f"{request.method} {request.scope['path']}: {phrase}.{advice}",
        headers=headers,
    )


def _allowed(request: Request) -> list[str]:
    """The methods of all routes with this path; the router tells those of the first alone."""

    def is_route(method: str) -> bool:
        scope = {"type": "http", "method": method, "path": request.scope["path"], "root_path": "", "headers": []}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    # What is mounted takes any method, and says itself which it allows.
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    allowed = [method for method in _METHODS if is_route(method)]
    return [*allowed, "HEAD"] if "GET" in allowed else allowed


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for nothing else
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return await _on_error(request, InvalidParameter(f"{name}: {first['msg']}.", field=name))
