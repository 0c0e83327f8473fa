"""The CPU time and the memory that renditions take, beside sharp, which a service in Node would use.

    python benchmarks/renditions.py [--rounds N] [--more]

Each side makes three sizes of a photo of 12 megapixels in a new process, node included; ours makes a placeholder too.
The sides take turns. A figure is the median of all rounds: CPU time of the process, and its largest resident set. sharp
does it in two ways, each size from the photo, and the smaller sizes from the largest. `--more` measures other photos,
which only we render. Needs node and npm; sharp is fetched once, into ~/.cache/recipe_api.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recipe_api.photos.kinds import HEAD_BYTES, sniff
from recipe_api.photos.renditions.process import Job, Limits, command

SIZES = (320, 960, 1920)
HERE = Path(__file__).parent
COMPARED = ("12 MP.jpg", "12 MP.png")
CACHE = Path.home() / ".cache" / "recipe_api" / "sharp"
AIM_CPU, AIM_MEMORY = 1.3, 1.0
_MIB = 1024 * 1024


class Cost(NamedTuple):
    """What one process took."""

    cpu_seconds: float
    peak_bytes: int


def cost(arguments: list[str], photo: Path, **options: object) -> Cost:
    """Run a process with the photo on its standard input, and return what it took."""
    with (
        photo.open("rb") as source,
        subprocess.Popen(  # noqa: S603 - ours
            arguments, stdin=source, stdout=subprocess.PIPE, **options
        ) as process,
    ):
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or b"unrenderable" in output[:100]:
        raise SystemExit(f"{arguments[0]} failed: {output[:300]!r}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def ours(photo: Path) -> Cost:
    """Return what our child process takes."""
    with photo.open("rb") as file:
        kind = sniff(file.read(HEAD_BYTES))
    return cost(command(Job(content_type=kind.content_type, sizes=SIZES), limits=Limits()), photo, env={})


def sharps(photo: Path, mode: str) -> Cost:
    """Return what sharp takes."""
    return cost(["node", str(CACHE / "renditions.js"), mode, *map(str, SIZES)], photo)


def install_sharp() -> None:
    """Fetch sharp, at the version of `package.json`, unless it is there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted, installed = HERE / "sharp" / "package.json", CACHE / "package.json"
    shutil.copy(HERE / "sharp" / "renditions.js", CACHE)
    if installed.exists() and installed.read_bytes() == wanted.read_bytes():
        return
    shutil.copy(HERE / "sharp" / ".npmrc", CACHE)
    shutil.copy(wanted, installed)
    npm = ["npm", "install", "--omit=dev", "--no-audit", "--no-fund"]
    if subprocess.run(npm, cwd=CACHE, capture_output=True, check=False).returncode:  # noqa: S603 - ours
        installed.unlink()
        raise SystemExit(f"npm install failed in {CACHE}")


def median(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))


def line(name: str, figures: Cost, peer: Cost | None = None) -> str:
    """Return a line of the table, with our ratio to a peer."""
    ratios = ""
    if peer is not None:
        ratios = f"   ours: {figures.cpu_seconds / peer.cpu_seconds:.2f} x CPU, "
        ratios += f"{figures.peak_bytes / peer.peak_bytes:.2f} x memory"
        figures = peer
    return f"{name:28} {figures.cpu_seconds:6.2f} s {figures.peak_bytes / _MIB:6.0f} MiB{ratios}"


def compare(photo: Path, rounds: int) -> Iterator[str]:
    """Let both sides take turns, and yield the lines of the table."""
    taken: dict[str, list[Cost]] = {"ours": [], "each": [], "cascade": []}
    for _ in range(rounds):
        taken["ours"].append(ours(photo))
        for mode in ("each", "cascade"):
            taken[mode].append(sharps(photo, mode))
    own = median(taken["ours"])
    yield line(f"{photo.name}, ours", own)
    yield line(f"{photo.name}, sharp", own, median(taken["each"]))
    yield line(f"{photo.name}, sharp, cascade", own, median(taken["cascade"]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--more", action="store_true", help="measure other photos as well")
    options = parser.parse_args()
    install_sharp()
    print(f"aims: at most {AIM_CPU} times sharp's CPU time, and at most {AIM_MEMORY} times its memory")
    with tempfile.TemporaryDirectory() as folder:
        make = [sys.executable, str(HERE / "large_photos.py"), folder]
        subprocess.run([*make, "--more"] if options.more else make, check=True)  # noqa: S603 - ours
        for photo in sorted(Path(folder).iterdir()):
            if photo.name in COMPARED:
                print(*compare(photo, options.rounds), sep="\n", flush=True)
            else:
                print(line(photo.name, median([ours(photo) for _ in range(3)])), flush=True)


if __name__ == "__main__":
    main()
