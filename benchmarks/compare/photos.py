"""Photos to send: the first bytes of a JPEG, then noise; and the forms that carry them."""

from random import Random

MIB = 1024 * 1024
_JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
_BOUNDARY = "benchmark-7MA4YWxkTrZu0gW"
CONTENT_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"

FORM_HEAD = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="label"\r\n\r\nPancakes\r\n'
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="pancakes.jpg"\r\n'
    f"Content-Type: image/jpeg\r\n\r\n"
).encode("ascii")
FORM_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode("ascii")


def photo(size: int) -> bytes:
    """A photo of `size` bytes, the same every time."""
    return _JPEG + Random(1).randbytes(size - len(_JPEG))  # noqa: S311 - no secret


def form(size: int) -> bytes:
    """The body of an upload of that photo."""
    return FORM_HEAD + photo(size) + FORM_TAIL
