"""How many examples Hypothesis generates for a test."""

import os

_DIVISOR = int(os.environ.get("EXAMPLES_DIVISOR", "1"))
_FEWEST = 10


def examples(count: int) -> int:
    """Return `count`, as for a thorough run, divided by EXAMPLES_DIVISOR, which `scripts/test` sets without `--all`."""
    return max(count // _DIVISOR, _FEWEST)
