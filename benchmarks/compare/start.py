"""Startup: how long a contestant takes from its start to its first 201, and its memory when it is idle."""

import statistics
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

from footprint import pss, settled

from compare.loads import Place
from compare.photos import CONTENT_TYPE, form
from compare.processes import guarded, plain_environment
from compare.servers import Server

_CREATED = 201
_IMPORTED = "recipe_api.composition"
_TIMES = 5
_PHOTO_BYTES = 50_000
_SETTLING_SECONDS = 2.0


def accepts_uploads(port: int) -> bool:
    """Return whether an upload to this port gets a 201."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    with suppress(OSError, HTTPException):
        connection.connect()
        connection.request("POST", "/recipe", form(_PHOTO_BYTES), {"Content-Type": CONTENT_TYPE})
        return connection.getresponse().status == _CREATED
    return False


def rest(_: Place, server: Server) -> dict[str, float]:
    """Wait until the memory has stopped growing."""
    settled(server.pid, seconds=_SETTLING_SECONDS)
    return {"first_201_seconds": server.ready_seconds, "idle_pss_mb": pss(server.pid) / 1e6}


def importing(_: Place) -> dict[str, float]:
    """Import the service into a new interpreter; take the median. The start of the interpreter does not count."""
    whole = [_python(f"import {_IMPORTED}") - _python("pass") for _ in range(_TIMES)]
    return {"import_seconds": statistics.median(whole)}


def _python(code: str) -> float:
    began = time.perf_counter()
    command = guarded([sys.executable, "-c", code])
    subprocess.run(command, env=plain_environment(), check=True)  # noqa: S603 - a command of ours
    return time.perf_counter() - began
