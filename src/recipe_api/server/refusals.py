"""Rejects what the HTTP parser cannot read as a request: the error that it means, and the response."""

import json
import re
from collections.abc import Iterable
from http import HTTPStatus

import httptools

from recipe_api.errors import RecipeApiError, RequestRefused, UnsupportedMethod, UnsupportedVersion

_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?: |$)")
"""A method is a token (RFC 9110 §9.1)."""


def parser_error(failure: httptools.HttpParserError, *, method: bytes, begun: bytes) -> RecipeApiError:
    """Return the error that describes why the parser failed.

    Args:
        failure: What the parser raised.
        method: The method of the request being parsed, as far as the parser knows it.
        begun: The bytes that the parser was given last, if they began with this request; else empty.

    Raises:
        BaseException: A callback raised something other than one of our errors, which is a bug.
    """
    if isinstance(failure, httptools.HttpParserCallbackError) and (cause := failure.__context__) is not None:
        if isinstance(cause, RecipeApiError):
            return cause
        raise cause
    if method == b"PRI":  # the preface of HTTP/2 (RFC 9113 §3.4)
        return UnsupportedVersion("Send the request as HTTP/1.1, not HTTP/2.")
    if isinstance(failure, httptools.HttpParserInvalidMethodError) and _METHOD.match(begun.lstrip(b"\r\n")):
        return UnsupportedMethod("Use one of the methods that HTTP defines, in upper case.")
    return RequestRefused(f"This is not valid HTTP/1.1: {failure.args[0]}.")


def problem_response(
    error: RecipeApiError,
    *,
    request_id: str | None,
    root_path: str,
    headers: Iterable[tuple[bytes, bytes]],
    has_content: bool,
) -> bytes:
    """Return a whole response with a problem document (RFC 9457), after which the connection closes.

    Args:
        error: The error to report.
        request_id: The id of the request; None if the connection is rejected before it sends one.
        root_path: The path below which the service is mounted.
        headers: The server's default headers.
        has_content: False for the response to a HEAD request.
    """
    document = {
        "type": f"{root_path}/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    fields = [*headers]
    if request_id is not None:
        document["request_id"] = request_id
        fields.append((b"x-request-id", request_id.encode("ascii")))
    content = json.dumps(document).encode("ascii")
    fields += [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(content)),
        (b"connection", b"close"),
    ]
    if error.retry_after is not None:
        fields.append((b"retry-after", b"%d" % error.retry_after))
    lines = [b"HTTP/1.1 %d %s" % (error.status, HTTPStatus(error.status).phrase.encode("ascii"))]
    lines += [name + b": " + value for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (content if has_content else b"")
