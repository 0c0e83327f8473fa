"""Many requests over a fixed number of connections, by wrk with one thread: uploads of one photo, or GETs.

Every connection sends the next request when it has the response to the last. Latency is from the first byte sent to the
response received. An error response, or a broken connection, makes the run invalid.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from compare.photos import CONTENT_TYPE
from compare.processes import BenchmarkError, guarded, plain_environment

_SCRIPT = Path(__file__).with_suffix(".lua")
_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The results of wrk."""

    requests: int
    seconds: float
    median: float
    p99: float
    refused: int
    broken: int


def stream(
    url: str,
    *,
    connections: int,
    seconds: float,
    body: Path | None = None,
    method: str = "POST",
    paths: Path | None = None,
) -> Stream:
    """Send requests for this number of seconds.

    Args:
        url: The address of the server.
        connections: The number of connections.
        seconds: The duration.
        body: A file with the body to send.
        method: The method that sends the body.
        paths: Instead of a body, a file with paths to GET in turn.

    Raises:
        BenchmarkError: wrk failed.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", _SCRIPT, url]
    upload = {"BODY": str(body), "METHOD": method, "CONTENT_TYPE": CONTENT_TYPE}
    environment = {"PATHS": str(paths)} if paths else upload
    try:
        done = subprocess.run(  # noqa: S603 - a command of ours
            guarded(command),
            env=plain_environment() | environment,
            capture_output=True,
            text=True,
            timeout=seconds + _GRACE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"wrk did not end in {seconds + _GRACE_SECONDS:.0f} s") from error
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return Stream(**json.loads(line.removeprefix("RESULT ")))
    raise BenchmarkError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
