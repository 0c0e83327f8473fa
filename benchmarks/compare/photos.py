"""Photos like those of a camera, and the forms that carry them.

Photos are JPEGs of clouds with Exif (an orientation, a position, a maker note) and XMP, and have exactly the requested
size. All contestants get the same bytes within a run.
"""

from functools import cache

import camera
import jpeg

MIB = 1024 * 1024
_SMALL = (640, 480)
_SMALL_BYTES = 500_000
"""Photos below this size in bytes have fewer pixels than a camera's, as if a page had reduced them."""
_QUALITY_STEP = 0.03
"""About how much smaller a photo gets with the next lower quality."""
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


@cache
def photo(size: int) -> bytes:
    """Return a photo of `size` bytes, up to 5 MB. At most `jpeg.METADATA_SHARE` of it is metadata."""
    least = jpeg.metadata_bytes(size) - int(_QUALITY_STEP * size)
    pixels = _SMALL if size < _SMALL_BYTES else camera.SIZE
    picture = camera.photo(pixels, at_most=size - max(least, 1000))
    start = picture[:2]
    return start + jpeg.metadata(size - len(picture)) + picture[2:]
