"""What was measured, and how several rounds of it become one figure: the median, with the lowest and the highest."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

FIGURES = {
    "per_second": "uploads a second",
    "megabytes": "MB a second",
    "seconds": "seconds, from the first byte to the answer",
    "last_byte_ms": "milliseconds from the last byte sent to the answer",
    "median_ms": "median latency, milliseconds",
    "p99_ms": "99th percentile of latency, milliseconds",
    "cpu_ms": "milliseconds of CPU an upload",
    "cpu_per_gib": "seconds of CPU a GiB",
    "idle_mib": "MiB of memory before",
    "peak_mib": "MiB of memory at the highest",
    "retries": "answers of 503 with Retry-After, after which the client came again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One load on one contestant, once."""

    load: str
    contestant: str
    round: int
    figures: dict[str, float]
    void: str = ""
    """Why it does not count, where it does not."""


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
        """The figure over the rounds that count; None where there are none."""
        return spread(
            each.figures[figure]
            for each in self.measurements
            if (each.load, each.contestant) == (load, contestant) and not each.void and figure in each.figures
        )

    def void(self) -> list[Measurement]:
        return [each for each in self.measurements if each.void]


def spread(values: Iterable[float]) -> Spread | None:
    """Median, lowest and highest, where there is anything."""
    found = sorted(values)
    return Spread(median=statistics.median(found), low=found[0], high=found[-1]) if found else None
