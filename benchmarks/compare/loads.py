"""The loads, each on one contestant: warm it, measure it, and hold it to what store and database have seen.

CPU and memory are of the contestant's whole process tree: user and system time from before the first upload to after
the last answer, and the kernel's own note of the highest resident memory. A measurement is void unless every upload was
answered 201 and the store has at least as many objects and bytes, and the table as many rows.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compare import client
from compare.database import Database
from compare.photos import MIB, form
from compare.processes import BenchmarkError, cpu_seconds, forget_peak, memory
from compare.servers import Server
from compare.store import Store
from compare.wrk import stream

_CREATED = 201
_UNAVAILABLE = 503
_CROWD_SECONDS = 150
_WARM_BYTES = 16 * MIB
_WARM_TIMES = 10  # what is compared to medians of steps done over and over should have been done before


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where measurements happen."""

    folder: Path
    store: Store
    database: Database
    source: client.LargePhoto


@dataclass(slots=True)
class Cost:
    """What a block of work cost the server; complete when the block has ended."""

    uploads: int = 0
    figures: dict[str, float] = field(default_factory=dict)


def many(size: int, *, connections: int, seconds: float, warm: float) -> Callable[[Place, Server], dict[str, float]]:
    """Photos of one size over so many connections, one after the other on each."""

    def measure(place: Place, server: Server) -> dict[str, float]:
        body = place.folder / f"form-{size}"
        if not body.exists():
            body.write_bytes(form(size))
        url = f"{server.url}/recipe"
        stream(url, body=body, connections=connections, seconds=warm)
        with _counted(place, server, size=size) as cost:
            seen = stream(url, body=body, connections=connections, seconds=seconds)
            if seen.refused or seen.broken or not seen.requests:
                raise BenchmarkError(f"{seen.refused} of {seen.requests} refused, {seen.broken} connections broke")
            cost.uploads = seen.requests
        return cost.figures | {
            "per_second": seen.requests / seen.seconds,
            "megabytes": seen.requests * size / 1e6 / seen.seconds,
            "median_ms": seen.median * 1e3,
            "p99_ms": seen.p99 * 1e3,
        }

    return measure


def one(size: int) -> Callable[[Place, Server], dict[str, float]]:
    """One large photo."""

    def measure(place: Place, server: Server) -> dict[str, float]:
        for _ in range(_WARM_TIMES):
            _accepted(client.send(server.port, place.source, size=_WARM_BYTES))
        with _counted(place, server, size=size) as cost:
            sent = _accepted(client.send(server.port, place.source, size=size))
            cost.uploads = 1
        return cost.figures | {
            "seconds": sent.seconds,
            "last_byte_ms": sent.last_byte * 1e3,
            "megabytes": size / 1e6 / sent.seconds,
        }

    return measure


def crowd(count: int, size: int) -> Callable[[Place, Server], dict[str, float]]:
    """So many large photos at once. Who is told 503 with Retry-After comes again then."""

    def measure(place: Place, server: Server) -> dict[str, float]:
        _accepted(client.send(server.port, place.source, size=_WARM_BYTES))
        deadline = time.monotonic() + _CROWD_SECONDS
        retries = []

        def upload(_: int) -> None:
            while (sent := client.send(server.port, place.source, size=size)).status == _UNAVAILABLE:
                retries.append(sent.retry_after)
                if not sent.retry_after or time.monotonic() + sent.retry_after > deadline:
                    break
                time.sleep(sent.retry_after)
            _accepted(sent)

        with _counted(place, server, size=size) as cost, ThreadPoolExecutor(count) as clients:
            began = time.perf_counter()
            for _ in clients.map(upload, range(count)):
                pass
            seconds = time.perf_counter() - began
            cost.uploads = count
        return cost.figures | {
            "seconds": seconds,
            "megabytes": count * size / 1e6 / seconds,
            "retries": len(retries),
        }

    return measure


@contextmanager
def _counted(place: Place, server: Server, *, size: int) -> Iterator[Cost]:
    """Counts what the block costs; what it uploaded is set on the yielded `Cost` within."""
    table = server.contestant.table
    if table:
        place.database.clear(table)
    seen = place.store.seen()
    idle = memory(server.pid, peak=False)
    forget_peak(server.pid)
    cpu, store_cpu, began = cpu_seconds(server.pid), cpu_seconds(place.store.pid), time.perf_counter()
    cost = Cost()
    yield cost
    cpu, store_cpu = cpu_seconds(server.pid) - cpu, cpu_seconds(place.store.pid) - store_cpu
    cost.figures = {
        "store_share": store_cpu / (time.perf_counter() - began),
        "cpu_ms": cpu / cost.uploads * 1e3,
        "cpu_per_gib": cpu / (cost.uploads * size) * 1024**3,
        "idle_mib": idle / MIB,
        "peak_mib": memory(server.pid, peak=True) / MIB,
    }
    if table:
        now = place.store.seen()
        stored = {name: now[name] - seen.get(name, 0) for name in now}
        rows = place.database.rows(table)
        if rows < cost.uploads or stored["objects"] < cost.uploads or stored["bytes"] < cost.uploads * size:
            raise BenchmarkError(f"{cost.uploads} uploads were answered 201, but there are {rows} rows and {stored}")


def _accepted(sent: client.Sent) -> client.Sent:
    if sent.status != _CREATED:
        raise BenchmarkError(f"an upload was answered {sent.status}: {sent.answer[:200]!r}")
    return sent
