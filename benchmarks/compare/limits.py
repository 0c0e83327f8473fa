"""The limits of a small dyno: 512 MB of memory and one CPU for a whole process tree.

They are set by control groups (version 1) where this process may create them. Elsewhere, `taskset` restricts the tree
to one core, and its memory is only observed, not limited.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from compare.processes import BenchmarkError

MEMORY_BYTES = 512 * 1024**2
_ROOT = Path("/sys/fs/cgroup")
_PERIOD_MICROSECONDS = 100_000
_END_SECONDS = 5
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one process tree."""

    groups: tuple[Path, ...]
    """The folders of its control groups, for memory and for CPU time; empty without control groups."""

    def around(self, command: Sequence[str]) -> tuple[str, ...]:
        """Return a command that runs the given one within the limits from its start."""
        if not self.groups:
            return ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command)
        entering = " && ".join(f'echo $$ > "{group}/cgroup.procs"' for group in self.groups)
        return ("sh", "-c", f'{entering} && exec "$@"', "sh", *command)

    def killed(self) -> int:
        """Return how many processes the kernel has killed for lack of memory."""
        if not self.groups:
            return 0
        found = re.search(r"^oom_kill (\d+)$", (self.groups[0] / "memory.oom_control").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0


@contextmanager
def limits() -> Iterator[Limits]:
    """Set up the limits, and remove them when all processes in them have ended.

    Raises:
        BenchmarkError: Neither control groups nor taskset are available.
    """
    memory, cpu = (_ROOT / kind / f"compare-{os.getpid()}" for kind in ("memory", "cpu"))
    made: tuple[Path, ...]
    try:
        memory.mkdir()
        (memory / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES))
        cpu.mkdir()
        (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_MICROSECONDS))
        (cpu / "cpu.cfs_quota_us").write_text(str(_PERIOD_MICROSECONDS))
        made = (memory, cpu)
    except OSError:
        made = ()
        if shutil.which("taskset") is None:
            raise BenchmarkError(
                "taskset is missing, and no control groups can be created; apt install util-linux"
            ) from None
    try:
        yield Limits(made)
    finally:
        for group in (memory, cpu):
            _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group once its processes, which have been asked to end, have ended."""
    deadline = time.monotonic() + _END_SECONDS
    while group.exists() and time.monotonic() < deadline:
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(_POLL_SECONDS)
