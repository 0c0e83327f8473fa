"""A type that argparse does not export."""

import argparse
from typing import TypeAlias

# Quoted, because the class is generic only to type checkers.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it
