"""The forms that carry photos."""

from jpeg import photo

MIB = 1024 * 1024
_BOUNDARY = "benchmark-7MA4YWxkTrZu0gW"
CONTENT_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"

FORM_HEAD = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="label"\r\n\r\nPancakes\r\n'
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="pancakes.jpg"\r\n'
    f"Content-Type: image/jpeg\r\n\r\n"
).encode("ascii")
FORM_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode("ascii")


def form(size: int) -> bytes:
    """Return the body of an upload of that photo."""
    return FORM_HEAD + photo(size) + FORM_TAIL
