"""How many parts of one upload may be in transit: the time of large uploads, and of small ones beside them.

    python benchmarks/parts.py [--rounds N]

With the near and the far store of `benchmarks/compare`, and with one and four clients that send photos of 256 MiB all
the time: processes with different `PARTS_IN_FLIGHT` take turns, and one more client sends photos of 50 kB on one
connection. Needs nginx with its Lua module and openssl.
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compare.client import LargePhoto, large_photo, send
from compare.contestants import Contestant, contestants
from compare.database import Cluster, cluster
from compare.photos import CONTENT_TYPE, MIB, form
from compare.processes import forget_peak, memory
from compare.servers import Server, is_listening, serving
from compare.store import STORES

SETTINGS = (2, 4, 8)
LARGE, SMALL = 256 * MIB, 50_000
CLIENTS = (1, 4)
SECONDS = 3.0
CREATED = 201


@dataclass(slots=True)
class Found:
    """What was measured with one setting."""

    large: list[float] = field(default_factory=list)
    """Seconds of each large upload."""
    small: list[float] = field(default_factory=list)
    """Seconds of each small upload."""
    peak: list[int] = field(default_factory=list)
    """The highest resident memory of each turn, in bytes."""

    def __str__(self) -> str:
        small = sorted(self.small)
        return (
            f"256 MiB {statistics.median(self.large):.2f} s; 50 kB median {statistics.median(small) * 1e3:.1f} ms, "
            f"p99 {small[len(small) * 99 // 100] * 1e3:.0f} ms, n {len(small)}; peak {max(self.peak) / MIB:.0f} MiB"
        )


def main() -> None:
    """Measure with both stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="parts-") as folder, ExitStack() as running:
        databases = running.enter_context(cluster(Path(folder) / "postgres"))
        source = running.enter_context(large_photo(LARGE))
        for name in ("near", "far"):
            store = running.enter_context(STORES[name](Path(folder) / name))
            with _servers(Path(folder), databases, name, store.environment()) as servers:
                for clients in CLIENTS:
                    print(f"store {name}, {clients} sending 256 MiB")
                    _compare(servers, source, clients=clients, rounds=rounds)


@contextmanager
def _servers(
    folder: Path, databases: Cluster, store: str, environment: Mapping[str, str]
) -> Iterator[dict[int, Server]]:
    service = contestants(folder, service=f"{Path(sys.executable).parent / 'recipe-api'} serve", baseline=None)[
        "service"
    ]
    with ExitStack() as running:
        yield {
            parts: running.enter_context(
                _serving(service, folder, databases, f"{store}-{parts}", {**environment, "PARTS_IN_FLIGHT": str(parts)})
            )
            for parts in SETTINGS
        }


@contextmanager
def _serving(
    service: Contestant, folder: Path, databases: Cluster, name: str, environment: Mapping[str, str]
) -> Iterator[Server]:
    database = databases.database(name, service.migrate)
    with serving(
        service, database=database, environment=environment, folder=folder, is_ready=is_listening, limits=None
    ) as server:
        yield server


def _compare(servers: Mapping[int, Server], source: LargePhoto, *, clients: int, rounds: int) -> None:
    found = {parts: Found() for parts in servers}
    for number in range(rounds):
        order = list(servers)
        for parts in order[number % len(order) :] + order[: number % len(order)]:
            _measure(servers[parts], source, found[parts], clients=clients)
    for parts, each in found.items():
        print(f"  PARTS_IN_FLIGHT={parts:<2} {each}", flush=True)


def _measure(server: Server, source: LargePhoto, found: Found, *, clients: int) -> None:
    forget_peak(server.pid)
    enough = threading.Event()

    def large() -> Sequence[float]:
        seconds = []
        while not enough.is_set():
            sent = send(server.port, source, size=LARGE)
            assert sent.status == CREATED, sent  # noqa: S101 - the measurement would be invalid
            seconds.append(sent.seconds)
        return seconds

    with ThreadPoolExecutor(clients) as threads:
        sending = [threads.submit(large) for _ in range(clients)]
        try:
            found.small += _small(server.port, until=time.monotonic() + SECONDS)
        finally:
            enough.set()
        for each in sending:
            found.large += each.result()
    found.peak.append(memory(server.pid, peak=True))


def _small(port: int, *, until: float) -> Iterator[float]:
    connection, body = http.client.HTTPConnection("127.0.0.1", port, timeout=60), form(SMALL)
    while time.monotonic() < until:
        began = time.perf_counter()
        connection.request("POST", "/recipe", body, {"Content-Type": CONTENT_TYPE})
        response = connection.getresponse()
        response.read()
        assert response.status == CREATED, response.status  # noqa: S101 - the measurement would be invalid
        yield time.perf_counter() - began
    connection.close()


if __name__ == "__main__":
    main()
