"""All kinds of requests at once, on a dyno with 512 MB of memory and one CPU; see `limits.py` and `mixed.py`."""

import asyncio
import statistics
from collections.abc import Callable

import psutil
from footprint import settled, watched

from compare.loads import Place
from compare.mixed import Outcome, mixed
from compare.servers import Server

KINDS = {
    "small": "upload of 50 kB",
    "medium": "upload of 5 MB",
    "large": "upload of 60 MiB",
    "tus_create": "tus, creation",
    "tus_append": "tus, append of 1 MiB; the last one completes 5 MB",
    "list": "list of 50",
    "page": "page",
    "rendition": "rendition",
}
_SHOWN = 3


def dyno(*, seconds: float) -> Callable[[Place, Server], dict[str, float]]:
    """Let all clients work for this long, and count failed requests and killed processes."""

    def measure(_: Place, server: Server) -> dict[str, float]:
        settled(server.pid)
        family = psutil.Process(server.pid).children(recursive=True)
        with watched(server.pid) as footprint:
            outcome = asyncio.run(mixed(server.url, seconds=seconds))
        for words in outcome.failed[:_SHOWN]:
            print(f"\n    {words}", flush=True)
        limits = server.limits
        return {
            **_latencies(outcome),
            "waits": outcome.waits,
            "failed": len(outcome.failed),
            "killed": (limits.killed() if limits else 0) + sum(not each.is_running() for each in family),
            "idle_pss_mb": sum(footprint.idle.values()) / 1e6,
            "peak_pss_mb": sum(footprint.at_peak.values()) / 1e6,
            "enforced": bool(limits and limits.groups),
        }

    return measure


def _latencies(outcome: Outcome) -> dict[str, float]:
    figures: dict[str, float] = {}
    for kind, found in outcome.seconds.items():
        highest = statistics.quantiles(found, n=100)[98] if len(found) > 1 else found[0]
        figures[f"{kind}_count"] = len(found)
        figures[f"{kind}_median_ms"] = statistics.median(found) * 1e3
        figures[f"{kind}_p99_ms"] = highest * 1e3
    return figures
