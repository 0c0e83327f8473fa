"""The child process: decodes the photo on standard input and writes its renditions to standard output.

`python -I -m recipe_api.photos.renditions.child JOB`, where JOB is JSON. See `result` for what it writes.
"""

import json
import sys
from typing import Any

from recipe_api.photos.renditions import confinement


def main() -> None:
    """Make the renditions."""
    job = json.loads(sys.argv[1])
    confinement.confine(memory_bytes=job["memory_bytes"], cpu_seconds=job["cpu_seconds"], parent=job["parent"])
    from recipe_api.photos.renditions import decoding  # noqa: PLC0415 - only now that the limits hold

    try:
        header, files = decoding.render(
            sys.stdin.buffer.read(), job["content_type"], sizes=job["sizes"], pixels=job["pixels"]
        )
    except decoding.Unrenderable as error:
        header, files = {"unrenderable": str(error)}, []
    _write(header, files)


def _write(header: dict[str, Any], files: list[bytes]) -> None:
    encoded = json.dumps(header).encode()
    for data in (len(encoded).to_bytes(4, "big"), encoded, *files):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
