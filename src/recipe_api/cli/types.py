"""The name of a type that argparse keeps to itself."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # in quotes: it is generic to checkers alone
