"""The form of every error response: a problem document (RFC 9457) with a type of the service."""

import json
from typing import Any

import httpx

from recipe_api.errors import RecipeApiError
from tests.support.wire import Response

WITHOUT_AN_ERROR = {"not-found": "Not Found", "method-not-allowed": "Method Not Allowed"}
"""Problems that come from the framework: titles by code."""


def errors(error: type[RecipeApiError] = RecipeApiError) -> list[type[RecipeApiError]]:
    """Return an error class and all its subclasses."""
    return [error, *(each for below in error.__subclasses__() for each in errors(below))]


def titles() -> dict[str, str]:
    """Return the titles of all problems by code."""
    return {error.code: error.title for error in errors()} | WITHOUT_AN_ERROR


def assert_rejected(status: int, content: bytes, code: str) -> dict[str, Any]:
    """Assert that a response of the server, rather than of the app, contains this problem; return its document."""
    document: dict[str, Any] = json.loads(content)
    assert (document["status"], document["type"]) == (status, f"/problems/{code}"), content
    assert document["title"] == titles()[code]
    assert document["detail"]
    assert document.keys() - {"request_id"} == {"type", "title", "status", "detail"}
    return document


def assert_problem(
    response: Response | httpx.Response, status: int, code: str, *, field: str | None = None
) -> dict[str, Any]:
    """Assert that the response is this problem, and return its document."""
    content = response.body if isinstance(response, Response) else response.content
    actual = response.status if isinstance(response, Response) else response.status_code
    assert actual == status, content
    assert response.headers["Content-Type"] == "application/problem+json", content
    document: dict[str, Any] = json.loads(content)
    assert document["type"] == f"/problems/{code}", content
    assert document["status"] == status
    assert document["title"] == titles()[code]
    assert document["detail"]
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert document.get("field") == field
    assert document.keys() <= {"type", "title", "status", "detail", "field", "request_id"}
    assert b"Traceback" not in content
    return document
