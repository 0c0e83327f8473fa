"""The headers of tus 1.0.0 (https://tus.io/protocols/resumable-upload)."""

import base64
import binascii
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request

from recipe_api.asgi import headers_of
from recipe_api.errors import HeadersTooLarge, InvalidParameter, NotOffsetOctets, UnsupportedTusVersion
from recipe_api.uploads.appending import Appended
from recipe_api.web.body import content_type

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,termination"
BODY_TYPE = "application/offset+octet-stream"
EXPOSED = (
    "Content-Location",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
)
"""Response headers that scripts of other origins may read."""
MAX_METADATA_BYTES = 12 * 1024
"""Maximum size of `Upload-Metadata`, which is stored in the upload's row: the longest file name and a label fit."""
MAX_FILENAME_LENGTH = 1024

_DIGITS = re.compile(r"[0-9]{1,19}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
"""ASCII without spaces and commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata that a client sends with a new upload."""

    header: str | None
    filename: str
    label: str | None


def is_tus(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request uses tus."""
    return b"tus-resumable" in headers_of(scope)


async def check_version(request: Request) -> None:
    """Check the version of the protocol.

    Raises:
        UnsupportedTusVersion: It is missing or unsupported.
    """
    if request.headers.get("tus-resumable") != VERSION:
        raise UnsupportedTusVersion(f"Send Tus-Resumable: {VERSION}.", field="Tus-Resumable")


def check_body_type(request: Request) -> None:
    """Check that a body to append has the content type `BODY_TYPE`.

    Raises:
        NotOffsetOctets: It has another content type.
    """
    declared = (content_type(request) or "").partition(";")[0].strip().lower()
    if declared != BODY_TYPE:
        raise NotOffsetOctets(f"Send the bytes as {BODY_TYPE}.", field="Content-Type")


def number(request: Request, name: str) -> int | None:
    """Return a header that is a number of bytes; None if it is missing.

    Raises:
        InvalidParameter: It is not a number.
    """
    value = request.headers.get(name)
    if value is None:
        return None
    if not _DIGITS.fullmatch(value):
        raise InvalidParameter(f"{name}: send a number of bytes.", field=name)
    return int(value)


def announced_size(request: Request) -> int | None:
    """Return the size of a new upload; None if the client declares it later.

    Raises:
        InvalidParameter: The headers must declare either a size or that it follows later.
    """
    size, deferred = number(request, "Upload-Length"), request.headers.get("upload-defer-length")
    if deferred not in {None, "1"}:
        raise InvalidParameter("Upload-Defer-Length: send 1, or leave it out.", field="Upload-Defer-Length")
    if (size is None) == (deferred is None):
        raise InvalidParameter("Send either Upload-Length or Upload-Defer-Length: 1.", field="Upload-Length")
    return size


def metadata(request: Request) -> Metadata:
    """Return the metadata of a new upload: the file name, as `filename` or `name`, and the label.

    Raises:
        InvalidParameter: The header is invalid.
        HeadersTooLarge: It is too long.
    """
    header = request.headers.get("upload-metadata")
    if header is None:
        return Metadata(header=None, filename="", label=None)
    if len(header) > MAX_METADATA_BYTES:
        raise HeadersTooLarge(f"Upload-Metadata may have at most {MAX_METADATA_BYTES} bytes. Send less.")
    pairs = _pairs(header)
    filename = _text(pairs.get("filename", pairs.get("name", b"")))
    if len(filename) > MAX_FILENAME_LENGTH or "\0" in filename:
        raise InvalidParameter("Upload-Metadata: the file name is too long or invalid.", field="Upload-Metadata")
    label = _text(pairs["label"]) if "label" in pairs else None
    return Metadata(header=header, filename=filename, label=label)


def _pairs(header: str) -> dict[str, bytes]:
    pairs: dict[str, bytes] = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        key, _, value = pair.partition(" ")
        if not _KEY.fullmatch(key) or key in pairs:
            raise _invalid_metadata()
        try:
            pairs[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _invalid_metadata() from None
    return pairs


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid_metadata() from None


def _invalid_metadata() -> InvalidParameter:
    return InvalidParameter(
        "Upload-Metadata: send pairs of a key and a value in base64, such as filename cGhvdG8uanBn,label Q2FrZQ==.",
        field="Upload-Metadata",
    )


def state_headers(appended: Appended) -> dict[str, str]:
    """Return the headers that describe an upload."""
    return {"Upload-Offset": str(appended.offset), "Upload-Expires": _http_date(appended.upload.expires_at)}


def _http_date(time: datetime) -> str:
    return format_datetime(time, usegmt=True)
