"""What no schema can express about a valid upload: that the file must be a photo, and that a key must be new."""

from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

from tests.support.forms import JPEG_HEADER
from tests.support.samples import sample

MAX_BYTES = 64 * 1024 * 1024
"""The default of MAX_UPLOAD_BYTES."""

_NOISE = st.binary(max_size=2000).map(lambda noise: JPEG_HEADER + noise.replace(b"\xff", b"\xfe"))
_SAMPLES = st.sampled_from(["pil136.png", "hopper.gif", "hopper.webp", "hopper.avif", "hopper.heif"]).map(sample)

for media_type in ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif"):
    schemathesis.openapi.media_type(media_type, _NOISE | _SAMPLES)

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@schemathesis.hook
def map_body(_context: object, body: object) -> object:
    """Replace a label that cannot be seen or contains NUL, and a size above the limit of the service.

    No schema can express that they are rejected, the size with 413.
    """
    fields = getattr(body, "body", body)  # a form whose parts have content types is an object with one more attribute
    if isinstance(fields, dict):
        _make_acceptable(fields)
        if isinstance(fields.get("metadata"), dict):
            _make_acceptable(fields["metadata"])
    return body


@schemathesis.hook
def map_query(_context: object, query: object) -> object:
    """Replace labels and sizes in a query, as in a body."""
    if isinstance(query, dict):
        _make_acceptable(query, label="metadata[label]", size="metadata[size]")
    return query


def _make_acceptable(fields: dict[str, object], *, label: str = "label", size: str = "size") -> None:
    if _is_rejected(fields.get(label)):
        fields[label] = "Pancakes"
    if _is_too_large(fields.get(size)):
        fields[size] = 1000


@schemathesis.hook
def map_headers(_context: object, headers: object) -> object:
    """Replace a valid idempotency key by a new one; one that was used for another form is rejected."""
    if isinstance(headers, dict) and _is_valid_key(headers.get("Idempotency-Key")):
        return headers | {"Idempotency-Key": str(uuid4())}
    return headers


def _is_rejected(label: object) -> bool:
    is_visible = isinstance(label, str) and any(c.isprintable() and not c.isspace() for c in label)
    return isinstance(label, str) and label != "" and (not is_visible or "\0" in label)


def _is_too_large(size: object) -> bool:
    number = int(size) if isinstance(size, str) and size.isdecimal() else size
    return isinstance(number, int | float) and number > MAX_BYTES


def _is_valid_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= 255 and key.isascii() and key.isprintable()
