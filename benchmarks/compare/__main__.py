"""`python benchmarks/compare`; see `command.py`."""

import sys
from pathlib import Path

# The folder of the package and of `footprint`, in place of the package's own.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from compare.command import main  # noqa: E402 - found there

sys.exit(main())
