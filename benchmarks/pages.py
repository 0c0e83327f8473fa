"""The memory of a process and its children, each page counted once, also if other programs share it.

    sudo python benchmarks/pages.py PID

Unlike PSS, this does not depend on what else runs on the machine. It reads /proc/PID/pagemap, which needs root.
"""

import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil

_PAGE = 4096
_FRAME, _OF_A_FILE, _PRESENT = (1 << 55) - 1, 1 << 61, 1 << 63  # Documentation/admin-guide/mm/pagemap.rst


def frames(pid: int) -> Iterator[tuple[int, bool]]:
    """Yield each page frame that a process has mapped, and whether it belongs to a file."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        for line in maps:
            if line.endswith(("[vsyscall]", "[vvar]", "[vdso]", "[vvar_vclock]")):
                continue  # the kernel's
            begin, end = (int(address, 16) // _PAGE for address in line.split(maxsplit=1)[0].split("-"))
            pagemap.seek(begin * 8)
            for (entry,) in struct.iter_unpack("<Q", pagemap.read((end - begin) * 8)):
                if entry & _PRESENT:
                    yield entry & _FRAME, bool(entry & _OF_A_FILE)


def main() -> None:
    """Print the total, and how much of it which processes share."""
    root = psutil.Process(int(sys.argv[1]))
    owners: dict[tuple[int, bool], set[int]] = defaultdict(set)
    for process in (root, *root.children(recursive=True)):
        for frame in frames(process.pid):
            owners[frame].add(process.pid)
    if {frame for frame, _ in owners} == {0}:
        sys.exit("The kernel shows page frames only to root.")
    shares = Counter((is_file, tuple(sorted(pids))) for (_, is_file), pids in owners.items())
    for (is_file, pids), count in shares.most_common():
        kind = "of files" if is_file else "of data"
        print(f"{count * _PAGE / 1e6:7.1f} MB {kind} in {', '.join(map(str, pids))}")
    print(f"{len(owners) * _PAGE / 1e6:7.1f} MB in all")


if __name__ == "__main__":
    main()
