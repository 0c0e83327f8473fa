"""The progress of a run, and an estimate of how long the rest takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from compare.plan import Step


@dataclass(slots=True)
class Progress:
    """The measurements of a run, and how long each kind has taken so far."""

    steps: Sequence[Step]
    began: float = field(default_factory=time.monotonic)
    taken: dict[tuple[str, str], float] = field(default_factory=dict)
    """Seconds of the last measurement, by load and contestant."""

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def expected(self, step: Step) -> float:
        """Return how long a measurement takes: as long as last time, or else as the plan estimates."""
        return self.taken.get((step.load.name, step.name), step.load.seconds)

    def clock(self, number: int) -> str:
        """Return the number of a measurement, the time so far, and an estimate of the rest."""
        rest = sum(map(self.expected, self.steps[number - 1 :]))
        return f"{number}/{len(self.steps)}, {self.elapsed:.0f} s, {rest:.0f} s left"

    def note(self, step: Step, seconds: float) -> None:
        """Remember how long a measurement took."""
        self.taken[step.load.name, step.name] = seconds
