"""Reading: the list of recipes, its last page, and single recipes, out of tables of different sizes; and the sweep."""

from collections.abc import Callable
from subprocess import CalledProcessError

from sweep import swept

from compare.loads import Place
from compare.processes import BenchmarkError, cpu_seconds
from compare.rows import OURS
from compare.servers import Server
from compare.wrk import stream
from recipe_api.dev.migrations import migrate

CONNECTIONS = 8
_SINGLE = 1_000
"""How many different recipes are read one by one."""
_WARM_SECONDS = 2


def reading(count: int, *, seconds: float) -> Callable[[Place, Server], dict[str, float]]:
    """Read from a table of this number of rows, which is filled the first time."""

    def measure(place: Place, server: Server) -> dict[str, float]:
        found = server.contestant.rows
        if found is None:
            raise BenchmarkError(f"{server.contestant.name} has nothing to read")
        found.fill(server.database, count)
        single = server.database.column(f"SELECT id FROM {found.table} ORDER BY random() LIMIT {_SINGLE}")  # noqa: S608 - our own
        pages = {
            "list": ["/recipe"],
            "last_page": [found.last_page(server.database, found.table)],
            "single": [f"/recipe/{each}" for each in single],
        }
        figures: dict[str, float] = {}
        for name, paths in pages.items():
            figures |= _read(place, server, name, paths, seconds=seconds)
        return figures

    return measure


def sweeping(count: int, *, database: str) -> Callable[[Place], dict[str, float]]:
    """Sweep a table of this number of recipes in the named database, and a simulated bucket."""

    def measure(place: Place) -> dict[str, float]:
        filled = place.cluster.database(database, migrate)
        OURS.fill(filled, count)
        try:
            found = swept(filled.url, count)
        except CalledProcessError as error:
            raise BenchmarkError(f"the sweep failed: {error}") from error
        return {
            "seconds": found.seconds,
            "cpu_seconds": found.cpu_seconds,
            "before_mb": found.bytes_before / 1e6,
            "peak_mb": found.peak_bytes / 1e6,
            "findings": found.findings,
        }

    return measure


def _read(place: Place, server: Server, name: str, paths: list[str], *, seconds: float) -> dict[str, float]:
    listed = place.folder / "paths"
    listed.write_text("\n".join(paths))
    stream(server.url, paths=listed, connections=CONNECTIONS, seconds=min(seconds, _WARM_SECONDS))
    cpu = cpu_seconds(server.pid)
    seen = stream(server.url, paths=listed, connections=CONNECTIONS, seconds=seconds)
    if seen.refused or seen.broken or not seen.requests:
        raise BenchmarkError(f"{name}: {seen.refused} of {seen.requests} refused, {seen.broken} connections broke")
    cpu = cpu_seconds(server.pid) - cpu
    return {
        f"{name}_per_second": seen.requests / seen.seconds,
        f"{name}_median_ms": seen.median * 1e3,
        f"{name}_cpu_ms": cpu / seen.requests * 1e3,
    }
