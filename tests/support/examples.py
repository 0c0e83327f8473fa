"""How many examples Hypothesis generates for a test."""

import os

_DIVISOR = 5 if os.environ.get("FEWER_EXAMPLES") else 1
_FEWEST = 10


def examples(count: int) -> int:
    """Return `count`, what a thorough run needs; with FEWER_EXAMPLES, as in `scripts/test --fast`, a fifth of it."""
    return max(count // _DIVISOR, _FEWEST)
