"""Forms and photos, byte for byte."""

import random
from dataclasses import dataclass

BOUNDARY = b"----recipe-boundary-7MA4YWxkTrZu0gW"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"
HEADER = f"Content-Type: {CONTENT_TYPE}"
"""The header line that announces such a form."""


def jpeg(size: int, *, seed: int = 1) -> bytes:
    """So many bytes that begin as a JPEG does; the rest does not repeat, so that a part lost or swapped shows."""
    return (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + random.Random(seed).randbytes(size))[:size]  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a form; `header` is what follows `Content-Disposition: form-data`."""

    header: bytes
    data: bytes

    def __bytes__(self) -> bytes:
        return b"--%s\r\nContent-Disposition: form-data%s\r\n\r\n%s\r\n" % (BOUNDARY, self.header, self.data)


def text_part(value: str | bytes, *, name: str = "label") -> Part:
    """A text field."""
    data = value if isinstance(value, bytes) else value.encode()
    return Part(header=b'; name="%s"' % name.encode(), data=data)


def file_part(
    data: bytes, *, name: str = "photo", filename: str | bytes = "pancakes.jpg", content_type: str = "image/jpeg"
) -> Part:
    """A file field."""
    raw = filename if isinstance(filename, bytes) else filename.encode()
    header = b'; name="%s"; filename="%s"\r\nContent-Type: %s' % (name.encode(), raw, content_type.encode())
    return Part(header=header, data=data)


END = b"--%s--\r\n" % BOUNDARY


def form(*parts: Part) -> bytes:
    """A whole form."""
    return b"".join(map(bytes, parts)) + END


def recipe_form(photo: bytes, *, label: str | bytes = "Pancakes", filename: str | bytes = "pancakes.jpg") -> bytes:
    """The form of an upload, the label first."""
    return form(text_part(label), file_part(photo, filename=filename))
