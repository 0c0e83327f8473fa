"""Forms and photos, byte for byte."""

import random
from dataclasses import dataclass
from functools import lru_cache

BOUNDARY = b"----recipe-boundary-7MA4YWxkTrZu0gW"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
HEADER = f"Content-Type: {CONTENT_TYPE}"
"""The header line that announces such a form."""


JPEG_HEADER = bytes.fromhex(
    "ffd8"  # start of image
    "ffe0 0010 4a464946 00 0102 00 0001 0001 00 00"  # JFIF 1.2, without a thumbnail
    "ffc0 000b 08 0400 0300 01 01 11 00"  # baseline, 768 x 1024 pixels, one component
    "ffda 0008 01 01 00 00 3f 00"  # start of the only scan
)
JPEG_END = bytes.fromhex("ffd9")


@lru_cache(16)  # many tests use the same few, some of which have megabytes
def jpeg(size: int, *, seed: int = 1) -> bytes:
    """Return a JPEG of `size` bytes without metadata: valid as far as its segments go, though it shows only noise.

    Its bytes do not repeat, so that a lost or swapped part is noticed. Below some 50 bytes it is cut off.
    """
    noise = random.Random(seed).randbytes(max(0, size - len(JPEG_HEADER) - len(JPEG_END)))  # noqa: S311 - no secret
    return (JPEG_HEADER + noise.replace(b"\xff", b"\xfe") + JPEG_END)[:size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a form; `header` is what follows `Content-Disposition: form-data`."""

    header: bytes
    data: bytes

    def __bytes__(self) -> bytes:
        return b"--%s\r\nContent-Disposition: form-data%s\r\n\r\n%s\r\n" % (BOUNDARY, self.header, self.data)


def text_part(value: str | bytes, *, name: str = "label") -> Part:
    """Return a text field."""
    data = value if isinstance(value, bytes) else value.encode()
    return Part(header=b'; name="%s"' % name.encode(), data=data)


def file_part(
    data: bytes, *, name: str = "photo", filename: str | bytes = "pancakes.jpg", content_type: str = "image/jpeg"
) -> Part:
    """Return a file field."""
    raw = filename if isinstance(filename, bytes) else filename.encode()
    header = b'; name="%s"; filename="%s"\r\nContent-Type: %s' % (name.encode(), raw, content_type.encode())
    return Part(header=header, data=data)


END = b"--%s--\r\n" % BOUNDARY


def form(*parts: Part) -> bytes:
    """Return a whole form."""
    return b"".join(map(bytes, parts)) + END


def recipe_form(photo: bytes, *, label: str | bytes = "Pancakes", filename: str | bytes = "pancakes.jpg") -> bytes:
    """Return the form of an upload, the label first."""
    return form(text_part(label), file_part(photo, filename=filename))
