"""How much memory the service uses with many clients, and whether every photo arrives whole.

    python benchmarks/soak.py crowd     100 photos of 64 MiB at once, 500 slow clients, small photos all the time
    python benchmarks/soak.py giant     one photo of 1 GiB: growth of the process, and what it writes to disks

Starts PostgreSQL and SeaweedFS in a temporary folder, and `recipe-api serve` with two processes on them; needs 8 GB of
disk. The figures are those of the server's process tree, without database and store; see docs/benchmarks.md.
"""

import argparse
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from footprint import Footprint, settled, watched, written_bytes
from jpeg import noise

from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import embedded_stack

MIB = 1024 * 1024
START_SECONDS = 30
HEAD_BYTES = 32
_HERE = Path(__file__).parent


def main() -> int:
    """Run one of the two; the exit code is 1 if a photo is incomplete or an upload failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("crowd", "giant"))
    parser.add_argument("--large", type=int, default=100, help="large photos of the crowd (default: %(default)s)")
    parser.add_argument("--large-mib", type=int, default=64, help="MiB of each (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=500, help="slow clients of the crowd (default: %(default)s)")
    parser.add_argument(
        "--server", default=str(Path(sys.executable).parent / "recipe-api"), help="the command to measure"
    )
    options = parser.parse_args()
    if options.what == "giant":
        options.large, options.large_mib, options.slow = 1, 1024, 0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        return _soak(Path(name), options)


def _soak(folder: Path, options: argparse.Namespace) -> int:
    size = options.large_mib * MIB
    shared = folder / "shared"
    shared.write_bytes(b"".join(noise(MIB, seed=number) for number in range(options.large_mib)))
    environment = {
        "WEB_CONCURRENCY": "2",
        "MAX_UPLOAD_BYTES": str(size),
        "MAX_UPLOADS_PER_CLIENT": "400",  # all clients of the crowd have one address
    }
    with serving(folder, command=options.server, environment=environment) as (url, pid):
        settled(pid)
        written = written_bytes(pid)
        with watched(pid) as footprint:
            outcome = _crowd(url, shared=shared, size=size, options=options)
        written = written_bytes(pid) - written
        whole = sum(_is_whole(photo, shared.read_bytes()) for photo in outcome["large"])
    _report(outcome, footprint, options=options, whole=whole, written=written)
    return 0 if whole == options.large and not outcome["failed"] else 1


def _crowd(url: str, *, shared: Path, size: int, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, str(_HERE / "soak_clients.py"), url, "--shared", str(shared)]
    command += ["--large", str(options.large), "--large-bytes", str(size), "--slow", str(options.slow)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - a script of ours
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


@contextmanager
def serving(folder: Path, *, command: str, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Serve on a separate stack with these settings; yield the address and the process id."""
    with embedded_stack(folder / "stack", durable=False) as stack, socket.socket() as probe:
        migrate(stack.database_url)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        complete = {
            **os.environ,
            **stack.environment(),
            "SECRET_KEY": "soak-soak-soak-soak-soak-soak-soak-soak",
            "PORT": str(port),
            "LOG_LEVEL": "warning",
            **environment,
        }
        server = subprocess.Popen([command, "serve", "--host", "127.0.0.1"], env=complete, cwd=folder)  # noqa: S603 - our own command
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url)
            yield url, server.pid
        finally:
            server.terminate()
            server.wait()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):  # noqa: S310 - an address of ours
                return
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _is_whole(photo: dict[str, str], shared: bytes) -> bool:
    """Return whether the photo, fetched without credentials, is what was sent."""
    expected = hashlib.sha256(bytes.fromhex(photo["head"]))
    expected.update(memoryview(shared)[HEAD_BYTES:])
    found = hashlib.sha256()
    with urllib.request.urlopen(photo["location"]) as answer:  # noqa: S310 - the store's address
        while chunk := answer.read(4 * MIB):
            found.update(chunk)
    return found.digest() == expected.digest()


def _report(
    outcome: dict[str, Any], footprint: Footprint, *, options: argparse.Namespace, whole: int, written: int
) -> None:
    megabytes = options.large * options.large_mib * MIB / 1e6
    print(f"large photos      {whole} of {options.large} of {options.large_mib} MiB whole")
    print(f"                  {outcome['seconds']:.1f} s, {megabytes / outcome['seconds']:.0f} MB/s")
    print(f"                  seconds each: {_spread(outcome['large_seconds'])}")
    print(f"small photos      {len(outcome['small_seconds'])}, seconds each: {_spread(outcome['small_seconds'])}")
    print(f"slow photos       {outcome['slow_done']}")
    print(f"503, came again   {outcome['refused']}")
    print(f"failed            {len(outcome['failed'])} {outcome['failed'][:3]}")
    print(f"PSS, idle         {_sum(footprint.idle)}")
    print(f"PSS, at its peak  {_sum(footprint.at_peak)}")
    print(f"RSS               {footprint.peak_rss / 1e6:.0f} MB at its peak")
    print(f"written to disks  {written} bytes; files open: {sorted(footprint.files) or 'none'}")


def _sum(pss: dict[int, int]) -> str:
    return f"{sum(pss.values()) / 1e6:.0f} MB = {' + '.join(f'{each / 1e6:.0f}' for each in pss.values())} by process"


def _spread(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return ", ".join(f"{each:.2f}" for each in seconds)
    cuts = statistics.quantiles(seconds, n=100)
    return f"median {statistics.median(seconds):.2f}, p95 {cuts[94]:.2f}, p99 {cuts[98]:.2f}, max {max(seconds):.2f}"


if __name__ == "__main__":
    sys.exit(main())
