"""How Ceph RGW 16 differs from Amazon, as recorded from a real one; moto does the rest.

- While `BlockPublicAcls` is on, every PUT of an object is denied, the owner's included.
- Ownership controls and default encryption do not exist: a GET returns a listing, a PUT an `InvalidArgument`.
- A lifecycle rule for the whole bucket comes back with an empty `Prefix` in place of its `Filter`.
"""

import re
from collections.abc import Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from tests.support.amazon import App, Start

_LISTING = (
    b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Name>photos</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"
)
_ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code></Error>'
_WHOLE_BUCKET = re.compile(rb"<Filter>\s*<Prefix>\s*</Prefix>\s*</Filter>|<Filter>\s*<Prefix\s*/>\s*</Filter>")


class Rgw:
    """A WSGI middleware."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._blocked: set[str] = set()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
        if "publicAccessBlock" in query and method in {"PUT", "DELETE"}:
            self._remember(bucket, _body_of(environ))
        if method == "PUT" and key and not query and bucket in self._blocked:
            return _answer(start, "403 Forbidden", _ERROR % b"AccessDenied")
        if {"ownershipControls", "encryption"} & query.keys():
            if method == "GET":
                return _answer(start, "200 OK", _LISTING)
            return _answer(start, "400 Bad Request", _ERROR % b"InvalidArgument")
        if "lifecycle" in query and method == "GET":
            return self._with_old_prefix(environ, start)
        return self.app(environ, start)

    def _remember(self, bucket: str, configuration: bytes) -> None:
        if b"<BlockPublicAcls>true<" in configuration:
            self._blocked.add(bucket)
        else:
            self._blocked.discard(bucket)

    def _with_old_prefix(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        started: list[Any] = []
        body = b"".join(self.app(environ, lambda *arguments: started.append(arguments)))
        status, headers = started[0][:2]
        changed = _WHOLE_BUCKET.sub(b"<Prefix></Prefix>", body)
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start(status, [*kept, ("Content-Length", str(len(changed)))])
        return [changed]


def _body_of(environ: dict[str, Any]) -> bytes:
    """Return the request's body, and leave it for the wrapped app."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return body


def _answer(start: Start, status: str, body: bytes) -> Iterable[bytes]:
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]
