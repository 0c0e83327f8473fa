"""Counts the instructions that the service executes for one request. Other load on the machine does not affect this.

    python benchmarks/instructions.py [--bytes N] [--photo none|keep|remove] [--connections N] [CHECKOUT …]
    python benchmarks/instructions.py --read list|recipe [--connections N] [CHECKOUT …]

Runs the service of each checkout, by default of this one, under Valgrind's callgrind, one after the other, each with an
empty database, and sends it photos; with `--read`, it reads lists of 50 of 1,000 recipes, or one recipe, without
renditions. If photos arrive over several connections, one statement inserts several rows. A
checkout is a folder of the project whose `.venv` has its packages, as after `scripts/test` there. Two runs differ by 1%
or less. `--photo none` sends bytes that are not a photo, which `PHOTO_METADATA=keep` stores without reading them.

Needs valgrind. Takes half a minute for each checkout.
"""

import argparse
import asyncio
import http.client
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import jpeg
import sweep

from recipe_api.dev.stack import embedded_stack

BOUNDARY = "instructions-benchmark"
WARM_UP, REQUESTS = 30, 100  # for each connection
START_SECONDS = 180
RECIPES = 1_000


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent again and again."""

    method: str
    path: str
    status: int
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=50_000, help="the size of the photo (50000)")
    parser.add_argument("--photo", choices=["none", "keep", "remove"], default="remove", help="(remove)")
    parser.add_argument("--connections", type=int, default=1, help="connections that send photos concurrently (1)")
    parser.add_argument("--read", choices=["list", "recipe"], help="read instead of uploading")
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path(__file__).resolve().parents[1]])
    options = parser.parse_args()
    photo = bytes(options.bytes) if options.photo == "none" else jpeg.photo(options.bytes)
    mode = "remove" if options.photo == "remove" else "keep"
    for checkout in options.checkouts:
        upload = None if options.read else _upload(photo)
        request = upload or Request("GET", "/recipe" if options.read == "list" else f"/recipe/{sweep.id_of(1)}", 200)
        environment = {"PHOTO_METADATA": mode}
        counted = _instructions(checkout.resolve(), request, connections=options.connections, environment=environment)
        what = f"{options.read} read" if options.read else f"upload of {len(photo)} bytes"
        print(f"{checkout}: {counted / 1e6:.3f} million instructions per {what}", flush=True)


def _instructions(checkout: Path, request: Request, *, connections: int, environment: dict[str, str]) -> float:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        stack = running.enter_context(embedded_stack(Path(folder) / "stack", durable=False))
        types = "image/jpeg" + (",application/octet-stream" if environment["PHOTO_METADATA"] == "keep" else "")
        complete = os.environ | stack.environment() | environment
        complete |= {"SECRET_KEY": "benchmark" * 5, "RENDITIONS": "none", "LOG_LEVEL": "warning", "PHOTO_TYPES": types}
        binaries = checkout / ".venv" / "bin"
        migration = [binaries / "alembic", "upgrade", "head"]
        subprocess.run(migration, cwd=checkout, env=complete, check=True, capture_output=True)  # noqa: S603
        if request.method == "GET":
            asyncio.run(_fill(complete["DATABASE_URL"]))
        log = Path(folder) / "callgrind.log"
        with _serving(binaries, log, environment=complete, folder=Path(folder)) as (port, pid):
            _send(port, request, times=WARM_UP, connections=connections)
            _control(pid, "--instr=on")
            _send(port, request, times=WARM_UP, connections=connections)  # meanwhile Valgrind translates the code
            _control(pid, "--zero")
            _send(port, request, times=REQUESTS, connections=connections)
            _control(pid, "--instr=off")
        counted = re.findall(r"Collected : (\d+)", log.read_text())
        return int(counted[-1]) / (REQUESTS * connections)


@contextmanager
def _serving(binaries: Path, log: Path, *, environment: dict[str, str], folder: Path) -> Iterator[tuple[int, int]]:
    """Run the service under Valgrind, and provide its port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder / 'out'}", f"--log-file={log}"]
    service = [binaries / "python", binaries / "recipe-api", "serve", "--host", "127.0.0.1"]
    environment = environment | {"PORT": str(port)}
    server = subprocess.Popen(["valgrind", *options, *service], env=environment, cwd=folder)  # noqa: S603, S607
    try:
        _wait_until_ready(port, server)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def _wait_until_ready(port: int, server: "subprocess.Popen[bytes]") -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            response.read()
        except OSError:
            connection.close()
        else:
            if response.status == http.HTTPStatus.OK:
                connection.close()
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("The service did not become ready.")
        time.sleep(0.2)


def _send(port: int, request: Request, *, times: int, connections: int) -> None:
    with ThreadPoolExecutor(connections) as threads:
        for sent in [threads.submit(_send_in_sequence, port, request, times=times) for _ in range(connections)]:
            sent.result()


def _send_in_sequence(port: int, request: Request, *, times: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(times):
        connection.request(request.method, request.path, request.body, request.headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != request.status:
            raise SystemExit(content.decode())
    connection.close()


def _upload(photo: bytes) -> Request:
    part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    label, file = f'{part}"label"\r\n\r\nPancakes\r\n', f'{part}"photo"; filename="pancakes.jpg"\r\n'
    form = f"{label}{file}Content-Type: image/jpeg\r\n\r\n".encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    return Request("POST", "/recipe", 201, form, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sweep.fill(RECIPES))
    await connection.execute("VACUUM ANALYZE recipe")
    await connection.close()


def _control(pid: int, option: str) -> None:
    subprocess.run(["callgrind_control", option, str(pid)], check=True, capture_output=True)  # noqa: S603, S607


if __name__ == "__main__":
    main()
