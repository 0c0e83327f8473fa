"""The name of a type that argparse keeps to itself."""

import argparse
from typing import TypeAlias

# In quotes, since it is generic to checkers alone.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name
