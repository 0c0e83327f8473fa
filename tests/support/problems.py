"""What every refusal must look like: a problem document (RFC 9457) with a type that is the service's own."""

import json
from typing import Any

import httpx

from recipe_api.errors import RecipeApiError
from tests.support.wire import Answer

WITHOUT_AN_ERROR = {"not-found": "Not Found", "method-not-allowed": "Method Not Allowed"}
"""Problems that the framework tells, by code, with their titles."""


def errors(error: type[RecipeApiError] = RecipeApiError) -> list[type[RecipeApiError]]:
    """Every kind of error that the service can name."""
    return [error, *(each for below in error.__subclasses__() for each in errors(below))]


def titles() -> dict[str, str]:
    """The title of each problem that the service can name, by its code."""
    return {error.code: error.title for error in errors()} | WITHOUT_AN_ERROR


def assert_rejected(status: int, content: bytes, code: str) -> dict[str, Any]:
    """The content is that of a problem which came before there was a request; its document."""
    document: dict[str, Any] = json.loads(content)
    assert (document["status"], document["type"]) == (status, f"/problems/{code}"), content
    assert document["title"] == titles()[code]
    assert document["detail"]
    assert document.keys() == {"type", "title", "status", "detail"}
    return document


def assert_problem(
    answer: Answer | httpx.Response, status: int, code: str, *, field: str | None = None
) -> dict[str, Any]:
    """The answer is this problem and nothing else; its document."""
    content = answer.body if isinstance(answer, Answer) else answer.content
    actual = answer.status if isinstance(answer, Answer) else answer.status_code
    assert actual == status, content
    assert answer.headers["Content-Type"] == "application/problem+json", content
    document: dict[str, Any] = json.loads(content)
    assert document["type"] == f"/problems/{code}", content
    assert document["status"] == status
    assert document["title"] == titles()[code]
    assert document["detail"]
    assert document["request_id"] == answer.headers["X-Request-ID"]
    assert document.get("field") == field
    assert document.keys() <= {"type", "title", "status", "detail", "field", "request_id"}
    assert b"Traceback" not in content
    return document
