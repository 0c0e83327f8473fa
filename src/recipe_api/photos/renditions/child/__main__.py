"""Decodes the photo on standard input and writes its renditions to standard output.

JOB is a JSON object, which `process` builds. `result` documents the output.
"""

import io
import json
import os
import sys
import warnings
from typing import Any

from recipe_api.photos.renditions.child.confinement import confine

_MAX_REASON = 500
"""Characters of an error, which may quote the photo."""
THREADED = {"image/heic", "image/heif"}
"""libde265 decodes in a thread, even if it is the only one."""


def main() -> None:
    """Apply the limits, render the photo, and write the result."""
    job = json.loads(sys.argv[1])
    confine(
        memory_bytes=job["memory_bytes"],
        cpu_seconds=job["cpu_seconds"],
        may_start_threads=job["content_type"] in THREADED,
        parent=job["parent"],
    )

    # Imported only after the limits are in effect.
    from PIL import Image  # noqa: PLC0415

    from recipe_api.photos.renditions.child.renditions import Unrenderable, render  # noqa: PLC0415

    Image.MAX_IMAGE_PIXELS = job["pixels"]
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        header, files = render(
            io.FileIO(sys.stdin.fileno(), closefd=False),
            job["content_type"],
            sizes=job["sizes"],
            pixels=job["pixels"],
            memory_bytes=job["memory_bytes"],
        )
    except Unrenderable as error:
        header, files = {"unrenderable": str(error)[:_MAX_REASON]}, []
    _write(header, files)


def _write(header: dict[str, Any], files: list[bytes]) -> None:
    encoded = json.dumps(header).encode()
    for data in (len(encoded).to_bytes(4, "big"), encoded, *files):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    os._exit(0)  # there is nothing to clean up


if __name__ == "__main__":
    main()
