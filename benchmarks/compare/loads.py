"""The loads, each on one contestant: warm up, measure, and compare with what store and database have received.

CPU time and memory are those of the contestant's whole process tree: user and system time from before the first upload
to after the last response, and the peak of resident memory that the kernel recorded. A measurement is void unless every
upload got 201, the store has at least as many objects and bytes, and the table has as many rows.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jpeg import METADATA_SHARE

from compare import client
from compare.database import Cluster
from compare.photos import MIB, form
from compare.processes import BenchmarkError, cpu_seconds, forget_peak, memory
from compare.servers import Server
from compare.store import Counting
from compare.wrk import stream

_CREATED = 201
_UNAVAILABLE = 503
_CROWD_SECONDS = 150
_WARM_BYTES = 16 * MIB
_ROW_MIB = 256
_WARM_TIMES = 10  # what is compared to medians of steps done over and over should have been done before


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What all measurements share."""

    folder: Path
    store: Counting
    cluster: Cluster
    source: client.LargePhoto


@dataclass(slots=True)
class Cost:
    """The cost of a block of work for the server; complete when the block has ended."""

    uploads: int = 0
    bytes: int = 0
    """The bytes of all photos."""
    figures: dict[str, float] = field(default_factory=dict)


def many(size: int, *, connections: int, seconds: float, warm: float) -> Callable[[Place, Server], dict[str, float]]:
    """Send photos of one size over this number of connections, one after the other on each."""

    def measure(place: Place, server: Server) -> dict[str, float]:
        body = place.folder / f"form-{size}"
        if not body.exists():
            body.write_bytes(form(size))
        url = f"{server.url}/recipe"
        stream(url, body=body, connections=connections, seconds=warm)
        with _counted(place, server) as cost:
            seen = stream(url, body=body, connections=connections, seconds=seconds)
            if seen.refused or seen.broken or not seen.requests:
                raise BenchmarkError(f"{seen.refused} of {seen.requests} refused, {seen.broken} connections broke")
            cost.uploads, cost.bytes = seen.requests, seen.requests * size
        return cost.figures | {
            "per_second": seen.requests / seen.seconds,
            "megabytes": seen.requests * size / 1e6 / seen.seconds,
            "median_ms": seen.median * 1e3,
            "p99_ms": seen.p99 * 1e3,
        }

    return measure


def one(size: int, *, times: int) -> Callable[[Place, Server], dict[str, float]]:
    """Send a large photo several times, and take the median."""

    def measure(place: Place, server: Server) -> dict[str, float]:
        _warm(place, server)
        with _counted(place, server) as cost:
            sent = [_accepted(client.send(server.port, place.source, size=size)) for _ in range(times)]
            cost.uploads, cost.bytes = times, times * size
        seconds = statistics.median(each.seconds for each in sent)
        return cost.figures | {
            "seconds": seconds,
            "last_byte_ms": statistics.median(each.last_byte for each in sent) * 1e3,
            "megabytes": size / 1e6 / seconds,
        }

    return measure


def growth(sizes: Sequence[int], *, times: int) -> Callable[[Place, Server], dict[str, float]]:
    """Send photos of each size, in MiB and ascending, several times; take the median for each size.

    Small ones are sent several times in a row, `_ROW_MIB` in total, because a single one takes no longer than a hiccup
    of the machine. One process handles all of them, since two processes may differ by a tenth in time because of their
    memory layout. For memory, the first time counts: the memory that a large photo used would hide that a small one
    needs less.
    """

    def measure(place: Place, server: Server) -> dict[str, float]:
        _warm(place, server)
        seconds: dict[int, list[float]] = {size: [] for size in sizes}
        peaks: dict[int, float] = {}
        with _counted(place, server) as cost:
            for size in [*sizes] * times:
                forget_peak(server.pid)
                for _ in range(max(1, _ROW_MIB // size)):
                    seconds[size].append(_accepted(client.send(server.port, place.source, size=size * MIB)).seconds)
                    peaks.setdefault(size, memory(server.pid, peak=True) / MIB)
            cost.uploads = sum(map(len, seconds.values()))
            cost.bytes = sum(size * len(found) for size, found in seconds.items()) * MIB
        return {f"seconds_{size}": statistics.median(found) for size, found in seconds.items()} | {
            f"peak_mib_{size}": peak for size, peak in peaks.items()
        }

    return measure


def _warm(place: Place, server: Server) -> None:
    for _ in range(_WARM_TIMES):
        _accepted(client.send(server.port, place.source, size=_WARM_BYTES))


def crowd(count: int, size: int) -> Callable[[Place, Server], dict[str, float]]:
    """Send this number of large photos at once. After 503 with Retry-After, a client retries."""

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

        with _counted(place, server) as cost, ThreadPoolExecutor(count) as clients:
            began = time.perf_counter()
            for _ in clients.map(upload, range(count)):
                pass
            seconds = time.perf_counter() - began
            cost.uploads, cost.bytes = count, count * size
        return cost.figures | {
            "seconds": seconds,
            "megabytes": count * size / 1e6 / seconds,
            "retries": len(retries),
        }

    return measure


@contextmanager
def _counted(place: Place, server: Server) -> Iterator[Cost]:
    """Measure the cost of the block, which records its uploads in the yielded `Cost`."""
    table = server.contestant.table
    if table:
        server.database.clear(table)
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
        "cpu_per_gib": cpu / cost.bytes * 1024**3,
        "idle_mib": idle / MIB,
        "peak_mib": memory(server.pid, peak=True) / MIB,
    }
    if table:
        now = place.store.seen()
        stored = {name: now[name] - seen.get(name, 0) for name in now}
        rows = server.database.rows(table)
        # recipe_api removes the metadata
        least = 0 if server.contestant.encodes_again else cost.bytes * (1 - METADATA_SHARE)
        if rows < cost.uploads or stored["objects"] < cost.uploads or stored["bytes"] < least:
            raise BenchmarkError(f"{cost.uploads} uploads got 201, but there are {rows} rows and {stored}")


def _accepted(sent: client.Sent) -> client.Sent:
    if sent.status != _CREATED:
        raise BenchmarkError(f"an upload got {sent.status}: {sent.content[:200]!r}")
    return sent
