"""What Schemathesis must know of a valid upload that no schema can say: what a photo is, and when a key is new."""

from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

_SIGNATURES = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x10\x00\x00\x00WEBP")

for media_type in ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/heif"):
    schemathesis.openapi.media_type(
        media_type, st.tuples(st.sampled_from(_SIGNATURES), st.binary(max_size=2000)).map(b"".join)
    )


@schemathesis.hook
def map_body(_context: object, body: object) -> object:
    """A label that cannot be seen is refused, which no schema can say."""
    if isinstance(body, dict) and _is_invisible(body.get("label")):
        return body | {"label": "Pancakes"}
    return body


@schemathesis.hook
def map_headers(_context: object, headers: object) -> object:
    """A valid idempotency key is made new: one that was used for another form before is refused."""
    if isinstance(headers, dict) and _is_valid_key(headers.get("Idempotency-Key")):
        return headers | {"Idempotency-Key": str(uuid4())}
    return headers


def _is_invisible(label: object) -> bool:
    return isinstance(label, str) and label != "" and not any(c.isprintable() and not c.isspace() for c in label)


def _is_valid_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= 255 and key.isascii() and key.isprintable()
