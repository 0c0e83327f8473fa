"""A histogram and a counter that record measurements in a fraction of the time that the SDK's instruments take.

The SDK copies, checks and hashes the attributes of each measurement, which takes 4 to 7 µs. An upload makes several
measurements and takes about 500 µs of CPU time in all. Here the attributes of a measurement are a tuple of values,
which is the key of a dictionary. The conversion to OpenTelemetry's data points happens only on export, by default once
a minute.

The event loop's thread records, and the exporter's thread reads. An export may contain a measurement in the buckets of
a histogram but not yet in its sum; the next export corrects this.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "up-down counter"]
Value = str | int | None
"""The value of an attribute; None if it is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The name, kind, unit and attributes of a metric."""

    name: str
    kind: Kind
    unit: str
    text: str
    attributes: tuple[str, ...] = ()
    """The names of the attributes, in the order of the values of a measurement."""

    def named(self, values: Sequence[Value]) -> dict[str, str | int]:
        """Return the attributes that are present, by name."""
        pairs = zip(self.attributes, values, strict=True)
        return {name: value for name, value in pairs if value is not None}


class Counter:
    """One monotonic sum for each combination of attributes."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self._sums: defaultdict[tuple[Value, ...], int] = defaultdict(int)

    def add(self, number: int, *values: Value) -> None:
        """Add a number to the sum of these attributes."""
        self._sums[values] += number

    def readings(self) -> list[tuple[int, tuple[Value, ...]]]:
        """Return each sum with its attributes."""
        return [(number, values) for values, number in self._sums.copy().items()]


@dataclass(slots=True)
class Distribution:
    """Measurements with the same attributes."""

    counts: list[int]
    """The number of measurements in each bucket; the last bucket has no upper bound."""
    total: float = 0.0

    def __sub__(self, earlier: "Distribution") -> "Distribution":
        """Return the measurements since an earlier copy."""
        counts = [now - then for now, then in zip(self.counts, earlier.counts, strict=True)]
        return Distribution(counts, self.total - earlier.total)


class Histogram:
    """One distribution of measurements for each combination of attributes.

    Args:
        description: The metric.
        bounds: The upper bounds of the buckets, inclusive and ascending.
    """

    def __init__(self, description: Description, bounds: Sequence[float]) -> None:
        self.description = description
        self.bounds = bounds
        self._distributions: dict[tuple[Value, ...], Distribution] = {}

    def record(self, measurement: float, *values: Value) -> None:
        """Record a measurement with these attributes."""
        distribution = self._distributions.get(values)
        if distribution is None:
            distribution = self._distributions[values] = self.nothing()
        distribution.counts[bisect_left(self.bounds, measurement)] += 1
        distribution.total += measurement

    def nothing(self) -> Distribution:
        """Return a distribution without measurements."""
        return Distribution([0] * (len(self.bounds) + 1))

    def distributions(self) -> Iterator[tuple[tuple[Value, ...], Distribution]]:
        """Yield a copy of each distribution, with its attributes."""
        for values, found in self._distributions.copy().items():
            yield values, Distribution(found.counts.copy(), found.total)
