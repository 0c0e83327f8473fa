"""What telemetry costs: the CPU time of an upload of 50 kB, with and without it.

    python benchmarks/telemetry.py [--rounds 100]

Four modes: off, metrics, traces, and both. One request in a hundred is sampled. Two processes of the same code differ
by up to a tenth, so one process serves all modes, each with its own app and port, and in each round every mode
gets the same uploads, in random order. The results are medians over the rounds: the CPU time of the event loop's
thread, and its ratio to `off`. The CPU time of the exporters' threads is printed separately; they send to a server that
discards everything.
"""

import argparse
import asyncio
import http.client
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jpeg
import uvicorn

from recipe_api.app import create_app
from recipe_api.dev.migrations import migrate
from recipe_api.dev.stack import Stack, embedded_stack
from recipe_api.server import server_options
from recipe_api.settings import Settings

BOUNDARY = "telemetry-benchmark"
PHOTO_BYTES = 50_000
CLIENTS = 16
WARM_UP, UPLOADS = 640, 160
EXPORT_SECONDS = 10
_NANOSECONDS = 1e9

METRICS = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "{}/v1/metrics"}
TRACES = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{}/v1/traces"}
MODES = {"off": {}, "metrics": METRICS, "traces": TRACES, "both": METRICS | TRACES}
SDK = {
    "OTEL_METRIC_EXPORT_INTERVAL": str(EXPORT_SECONDS * 1000),
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.01",
}


def main() -> None:
    """Print the cost of each mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--serve", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve(list(map(int, options.serve))))
        return
    with tempfile.TemporaryDirectory(prefix="telemetry-") as name, _discarding() as collector:
        found, exporting = _measure(Path(name), collector, rounds=options.rounds)
    for mode, each in found.items():
        ratios = sorted(one / off for one, off in zip(each, found["off"], strict=True))
        low, middle, high = (ratios[len(ratios) * part // 4] for part in (1, 2, 3))
        print(f"{mode}: {statistics.median(each):.3f} ms, {middle:.3f} times off (quartiles {low:.3f} to {high:.3f})")
    print(f"other threads: {exporting:.4f} of a core, with an export every {EXPORT_SECONDS} s by two apps")


def _measure(folder: Path, collector: str, *, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Return the milliseconds of an upload in each mode and round, and how busy the other threads were."""
    with (
        embedded_stack(folder / "stack", durable=False) as stack,
        _server(stack, collector) as (ports, pid),
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        for port in ports.values():
            _upload(clients, port, WARM_UP)
        began, exporting = time.monotonic(), _cpu_of_threads(pid)
        found: dict[str, list[float]] = {mode: [] for mode in ports}
        for _ in range(rounds):
            for mode in random.sample(list(ports), len(ports)):
                before = _cpu_of_loop(pid)
                _upload(clients, ports[mode], UPLOADS)
                found[mode].append((_cpu_of_loop(pid) - before) / UPLOADS / _NANOSECONDS * 1000)
        return found, (_cpu_of_threads(pid) - exporting) / _NANOSECONDS / (time.monotonic() - began)


async def _serve(ports: list[int]) -> None:
    """Serve each mode on a port until SIGTERM."""
    servers = []
    for port, mode in zip(ports, MODES.values(), strict=True):
        chosen = {name: value.format(os.environ["COLLECTOR"]) for name, value in mode.items()}
        settings = Settings.from_environment({**os.environ, **chosen})
        os.environ.update(chosen)
        config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=port, **server_options(settings))
        servers.append(uvicorn.Server(config))
    await asyncio.gather(*(server._serve() for server in servers))  # noqa: SLF001 - serve() would take the signals three times


@contextmanager
def _server(stack: Stack, collector: str) -> Iterator[tuple[dict[str, int], int]]:
    migrate(stack.database_url)
    ports = {mode: _free_port() for mode in MODES}
    complete = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        **stack.environment(),
        **SDK,
        "COLLECTOR": collector,
        "SECRET_KEY": "telemetry-" * 4,
        "RENDITIONS": "none",
        "LOG_LEVEL": "warning",
    }
    server = subprocess.Popen([sys.executable, __file__, "--serve", *map(str, ports.values())], env=complete)  # noqa: S603 - this script
    try:
        for port in ports.values():
            _wait_until_ready(port)
        yield ports, server.pid
    finally:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(port: int) -> None:
    for _ in range(300):
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.1)
    raise AssertionError("the service does not start")


def _upload(clients: ThreadPoolExecutor, port: int, number: int) -> None:
    for done in [clients.submit(_upload_some, port, number // CLIENTS) for _ in range(CLIENTS)]:
        done.result()


def _upload_some(port: int, number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    for _ in range(number):
        connection.request("POST", "/recipe", FORM, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status != http.HTTPStatus.CREATED:
            raise AssertionError(f"{response.status} {text[:300]!r}")
    connection.close()


def _form() -> bytes:
    disposition = "Content-Disposition: form-data; name="
    head = (
        f'--{BOUNDARY}\r\n{disposition}"label"\r\n\r\nx\r\n--{BOUNDARY}\r\n{disposition}"photo"; filename="x"\r\n\r\n'
    )
    return head.encode() + jpeg.photo(PHOTO_BYTES) + f"\r\n--{BOUNDARY}--\r\n".encode()


FORM = _form()


def _cpu_of_loop(pid: int) -> int:
    """Return how long the main thread has run, in nanoseconds."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def _cpu_of_threads(pid: int) -> int:
    """Return the same for all other threads."""
    every = sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return every - _cpu_of_loop(pid)


@contextmanager
def _discarding() -> Iterator[str]:
    """Run a server that accepts every request; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(http.HTTPStatus.OK)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()
