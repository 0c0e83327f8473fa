"""Quotas: how much one client may use within a time window.

Usage is measured in seconds: the time in which it is restored. With 60 uploads per minute, one upload is one second. A
client may use its whole quota at once, and then as much as is restored. This is the generic cell rate algorithm, a
token bucket whose whole state is one point in time: when the quota will be fully restored.
"""

from dataclasses import dataclass, field
from math import ceil, inf
from typing import NamedTuple

TOLERANCE_SECONDS = 0.001
"""A client never waits for less, because sums of fractions are inexact."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quota:
    """A quota for each client."""

    name: str
    limit: int
    """How much one client may use within the window; 0 for no limit."""
    window_seconds: int
    is_of_bytes: bool = False
    """Whether the unit is a byte; otherwise it is an upload."""
    unit_seconds: float = field(init=False)
    """The time in which one unit is restored."""
    capacity: float = field(init=False)
    """How much may be used at most, in seconds."""
    half: float = field(init=False)
    """Half of the quota, in seconds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit_seconds", self.window_seconds / self.limit if self.limit else 0.0)
        object.__setattr__(self, "half", self.window_seconds / 2 if self.limit else inf)
        object.__setattr__(self, "capacity", self.window_seconds + TOLERANCE_SECONDS if self.limit else inf)

    def cost(self, amount: int) -> float:
        """Return the time in which an amount is restored. More than the whole quota counts as all of it."""
        return min(amount * self.unit_seconds, self.window_seconds)

    def allowance(self, used: float, *, needed: float = 0.0) -> "Allowance":
        """Return what is left of the quota.

        Args:
            used: What the client has used, in seconds.
            needed: What it needs, in seconds; by default, one unit.
        """
        left = int((self.capacity - used) / self.unit_seconds)
        missing = used + (needed or self.unit_seconds) - self.capacity
        return Allowance(self, min(max(left, 0), self.limit), ceil(missing) if missing > 0 else 0)


class Allowance(NamedTuple):
    """What is left of a client's quota."""

    quota: Quota
    left: int
    """The number of units that the client may use now."""
    wait_seconds: int
    """How long to wait for more; 0 if that is not necessary."""
