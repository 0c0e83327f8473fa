"""The measurements, and how several rounds become one figure: the median, with the lowest and the highest."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

FIGURES = {
    "per_second": "uploads per second",
    "megabytes": "MB per second",
    "seconds": "from the first byte sent to the response",
    "last_byte_ms": "from the last byte sent to the response",
    "median_ms": "median of the latency",
    "p99_ms": "99th percentile of the latency",
    "cpu_ms": "CPU time of an upload",
    "cpu_per_gib": "seconds of CPU time per GiB",
    "idle_mib": "resident memory before",
    "peak_mib": "peak resident memory",
    "retries": "responses with 503 and Retry-After, after which the client retried",
    "store_share": "share of a core that the store was busy",
    "part_ms": "one part's PUT, signed",
    "bare_part_ms": "one part's PUT, neither signed nor hashed",
    "complete_ms": "CompleteMultipartUpload",
    "commit_ms": "a row's commit",
    "first_201_seconds": "from the start of the process to the first 201",
    "idle_pss_mb": "PSS of the idle process tree; on the dyno, before the load",
    "import_seconds": "time to import the service into a new interpreter",
    "list_per_second": "lists of 50 per second; also last_page, and single for one recipe; also _median_ms, _cpu_ms",
    "cpu_seconds": "CPU time of the sweep",
    "before_mb": "memory before the sweep",
    "peak_mb": "peak memory of the sweep",
    "findings": "what the sweep found",
    "small_count": "requests of a kind that succeeded on the dyno; also _median_ms, _p99_ms; see dyno.py for the kinds",
    "waits": "responses with Retry-After",
    "failed": "requests that failed",
    "killed": "processes that ended or were killed for lack of memory",
    "peak_pss_mb": "peak PSS of the process tree",
    "enforced": "1 if control groups limited the process tree",
}
"""What each figure in the JSON means; its unit is in the name. With `_16` and the like: for a photo of so many MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of a load on a contestant."""

    load: str
    contestant: str
    round: int
    figures: dict[str, float]
    void: str = ""
    """Why the run does not count; empty if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements of a run."""

    measurements: list[Measurement] = field(default_factory=list)

    def spread(self, load: str, contestant: str, figure: str) -> Spread | None:
        """Return the figure over the rounds that count; None if there are none."""
        return spread(
            each.figures[figure]
            for each in self.measurements
            if (each.load, each.contestant) == (load, contestant) and not each.void and figure in each.figures
        )

    def ratio(self, load: str, above: tuple[str, str], below: tuple[str, str]) -> Spread | None:
        """Return the ratio of two figures, each named (contestant, figure), round by round, since the machine slows
        both alike.
        """
        rounds: dict[int, dict[str, Measurement]] = {}
        for each in self.measurements:
            if each.load == load and not each.void:
                rounds.setdefault(each.round, {})[each.contestant] = each
        return spread(
            found[above[0]].figures[above[1]] / found[below[0]].figures[below[1]]
            for found in rounds.values()
            if above[1] in _figures(found, above[0]) and below[1] in _figures(found, below[0])
        )

    def void(self) -> list[Measurement]:
        return [each for each in self.measurements if each.void]


def _figures(found: dict[str, Measurement], contestant: str) -> dict[str, float]:
    return found[contestant].figures if contestant in found else {}


def spread(values: Iterable[float]) -> Spread | None:
    """Return median, lowest and highest, or None without values."""
    found = sorted(values)
    return Spread(median=statistics.median(found), low=found[0], high=found[-1]) if found else None
