"""Validates the head of a request: the rules of RFC 9110 and RFC 9112 that the HTTP parser leaves to its caller.

llhttp checks the syntax of the request line, of header fields and of `Content-Length`, and rejects a request with both
`Content-Length` and `Transfer-Encoding`. The rest is checked here, before the request reaches the app.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from recipe_api.asgi import RequestHeaders
from recipe_api.errors import (
    HeadersTooLarge,
    RequestRefused,
    TargetTooLong,
    UnmetExpectation,
    UnsupportedMethod,
    UnsupportedTransferCoding,
    UnsupportedVersion,
)
from recipe_api.units import KIB

MAX_REQUEST_LINE_BYTES = 8 * KIB
"""Method, target and version, with the line ending. RFC 9112 §3 recommends to support at least this."""
MAX_HEAD_BYTES = 16 * KIB
"""Request line and header fields, with their line endings and the empty line that ends them."""
MAX_HEADERS = 100
"""Many small headers use far more memory and time than their size suggests."""
MAX_PARAMETERS = 100
"""Parameters of a query. The framework needs about 7 µs for each."""

_LINE_EXTRA = len(b"  HTTP/1.1\r\n")
_END = len(b"\r\n")
_FIELD_EXTRA = len(b": \r\n")

# RFC 3986 §3.2.2 and §3.2.3; an empty host is valid in Host (RFC 9110 §7.2), but not in an http URI (§4.2.1).
_REG_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_IP_LITERAL = rb"\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]"
_PORT = rb"(?::[0-9]*)?"
_HOST = re.compile(rb"(?:%s|%s*)%s" % (_IP_LITERAL, _REG_NAME, _PORT))
_ABSOLUTE = re.compile(rb"(?i:https?)://(?P<authority>(?:%s|%s+)%s)(?P<rest>[/?].*)?" % (_IP_LITERAL, _REG_NAME, _PORT))


@dataclass(slots=True, kw_only=True)
class Head:
    """A valid head, as far as the server acts on it."""

    target: bytes
    """The request target in origin form (`/path?query`), or `*`."""
    authority: bytes | None
    """The host that an absolute target names, which replaces the `Host` header (RFC 9112 §3.2.2)."""
    chunked: bool
    length: int
    """The size of the body in bytes; 0 if it is chunked."""
    expects_continue: bool

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.chunked or self.length > 0

    @property
    def framing(self) -> bytes:
        """A minimal head that frames the same body."""
        frame = b"Transfer-Encoding: chunked" if self.chunked else b"Content-Length: %d" % self.length
        return b"POST / HTTP/1.1\r\n" + frame + b"\r\n\r\n"


def read_head(*, method: bytes, target: bytes, version: str, headers: RequestHeaders) -> Head:
    """Validate a head whose request line is not too long (`check_request_line`).

    Args:
        method: The method as sent.
        target: The request target as sent.
        version: The HTTP version, such as `1.1`.
        headers: All headers of the request.

    Raises:
        RequestRefused: The head is invalid or too large.
        Unimplemented: It needs a method, transfer coding or version that the server does not support.
    """
    _check_size(method, target, headers)
    if not version.startswith("1."):  # a higher minor version is served as 1.1 (RFC 9110 §2.5)
        raise UnsupportedVersion(f"Send the request as HTTP/1.1, not HTTP/{version}.")
    if method == b"CONNECT":
        raise UnsupportedMethod("CONNECT is for proxies; this is an origin server.")
    is_1_0 = version == "1.0"
    _check_host(headers.values(b"host"), required=not is_1_0)
    target, authority = _origin_form(target)
    return Head(
        target=target,
        authority=authority,
        chunked=b"transfer-encoding" in headers and _is_chunked(headers, is_1_0=is_1_0),
        length=headers.content_length() or 0,
        expects_continue=b"expect" in headers and _expects_continue(headers, is_1_0=is_1_0),
    )


def check_request_line(*, method: bytes, target: bytes) -> None:
    """Check the length of a request line, which may still be incomplete.

    Raises:
        TargetTooLong: It is longer than `MAX_REQUEST_LINE_BYTES`.
    """
    if len(method) + len(target) + _LINE_EXTRA > MAX_REQUEST_LINE_BYTES:
        raise TargetTooLong(
            f"The request line may have at most {MAX_REQUEST_LINE_BYTES} bytes; shorten the path or the query."
        )


def head_too_large() -> HeadersTooLarge:
    """Return the error for a head over `MAX_HEAD_BYTES`."""
    return HeadersTooLarge(
        f"The request line and headers may have at most {MAX_HEAD_BYTES} bytes together; send fewer or shorter headers."
    )


def too_many_headers() -> HeadersTooLarge:
    """Return the error for a head with more than `MAX_HEADERS`."""
    return HeadersTooLarge(f"A request may have at most {MAX_HEADERS} headers; send fewer.")


def _check_size(method: bytes, target: bytes, headers: RequestHeaders) -> None:
    size = len(method) + len(target) + _LINE_EXTRA + _END + _FIELD_EXTRA * len(headers.fields)
    if size + sum(map(len, chain.from_iterable(headers.fields))) > MAX_HEAD_BYTES:
        raise head_too_large()
    if target.count(b"&") >= MAX_PARAMETERS:
        raise RequestRefused(f"A query may have at most {MAX_PARAMETERS} parameters; send fewer.")


def _members(values: Iterable[bytes]) -> list[bytes]:
    """Return the members of a comma-separated list (RFC 9110 §5.6.1) in lower case."""
    members = (member.strip(b" \t").lower() for value in values for member in value.split(b","))
    return [member for member in members if member]


def _check_host(hosts: list[bytes], *, required: bool) -> None:
    """Check the Host header as RFC 9112 §3.2 requires."""
    if len(hosts) > 1:
        raise RequestRefused("Send one Host header, not several.")
    if required and not hosts:
        raise RequestRefused("An HTTP/1.1 request needs a Host header.")
    if hosts and not _is_host(hosts[0]):
        raise RequestRefused("The Host header is malformed: send a host name or address, and a port if there is one.")


@lru_cache(maxsize=64)  # clients send few different ones
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value.strip(b" \t")) is not None


def _origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """Return the target as path and query, and the authority if the target is absolute (RFC 9112 §3.2)."""
    if target.startswith(b"/") or target == b"*":
        return target, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise RequestRefused("The request target is malformed: send a path, or an address that begins with http://.")
    rest = absolute["rest"] or b""
    return (rest if rest.startswith(b"/") else b"/" + rest), absolute["authority"]


def _is_chunked(headers: RequestHeaders, *, is_1_0: bool) -> bool:
    """Return whether the body is chunked, as Transfer-Encoding must say (RFC 9112 §6.1 and §6.3)."""
    if is_1_0:
        raise RequestRefused("HTTP/1.0 has no Transfer-Encoding; send a Content-Length, or use HTTP/1.1.")
    codings = _members(headers.values(b"transfer-encoding"))
    if not codings or codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        raise RequestRefused("The last Transfer-Encoding must be chunked, exactly once.")
    if len(codings) > 1:
        raise UnsupportedTransferCoding("Send the body as Transfer-Encoding: chunked alone, or with a Content-Length.")
    return True


def _expects_continue(headers: RequestHeaders, *, is_1_0: bool) -> bool:
    """Return whether the client waits for "100 Continue" (RFC 9110 §10.1.1). HTTP/1.0 has no expectations."""
    if is_1_0:
        return False
    expectations = _members(headers.values(b"expect"))
    if any(expectation != b"100-continue" for expectation in expectations):
        raise UnmetExpectation("Only Expect: 100-continue is supported; remove the header.")
    return bool(expectations)
