"""Compares the service with its alternatives: one machine, the same stores, one PostgreSQL, one process each.

    python benchmarks/compare            everything, about 60 minutes; writes docs/benchmarks/ and the tables in
                                         docs/benchmarks.md
    python benchmarks/compare --rounds 2 --minutes 30
                                         the same with fewer rounds; skips what would not end in time
    python benchmarks/compare --quick    checks that everything works, in 6 minutes; its figures mean nothing
    python benchmarks/compare --only small service express
                                         one load, two contestants
    python benchmarks/compare --only far dyno start reading
                                         four of the five parts
    python benchmarks/compare --only small medium service baseline --baseline CHECKOUT
                                         alternates between this release and another one
    python benchmarks/compare --report   writes the tables and pictures of the last full run again

Parts and their loads:
    near     small (50 kB), medium (5 MB), large (256 MiB), crowd (64 of 64 MiB at once), growth (16 MiB to 2 GiB)
    far      far-small, far-medium, far-large: the store uses TLS, and responds after 20 ms
    start    start: time from the start to the first 201, idle memory
    reading  reading-few (1,000 rows), reading-many (3,000,000 rows): list, last page, single recipes; sweep
    dyno     dyno: everything at once for three minutes, with 512 MB and one CPU
Contestants: service, baseline, keep, express, sharp, naive, pillow, discard; for reference: store, curl, steps, import
and sweep. Small and medium photos resemble a camera's. The service, sharp and pillow remove their metadata.

Needs the packages of `pip install -e '.[test]'`, which `scripts/test` leaves in .venv, and nginx with its Lua module,
wrk, node, npm, curl, openssl, setpriv. Express and its packages are fetched once, into ~/.cache/recipe_api. All
processes that it starts end with it. Run it on a machine that does nothing else. Every measurement is saved when it
ends, so --report also works after a run that was interrupted. --quick and --only write to .cache/compare, and leave
docs/ alone; --report with one of them reads there. What the names of figures mean is in benchmarks/compare/figures.py.
"""

import argparse
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from compare import machine, record
from compare.contestants import contestants, install_express
from compare.figures import Measurement, Results
from compare.plan import PARTS, loads, steps
from compare.plots import plots
from compare.processes import BenchmarkError
from compare.report import paste, report
from compare.rounds import measured

ROUNDS = 5
CACHE = Path.home() / ".cache" / "recipe_api" / "compare"
_ROOT = Path(__file__).parents[2]
_PROGRAMS = {
    "nginx": "nginx-extras",
    "wrk": "wrk",
    "node": "nodejs",
    "npm": "npm",
    "curl": "curl",
    "openssl": "openssl",
    "setpriv": "util-linux",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; the exit code is 1 if a measurement is invalid, and 2 if it cannot run here."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is stopped cleanly
    whole = not (options.quick or options.only)
    folder = _ROOT / "docs" / "benchmarks" if whole else _ROOT / ".cache" / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "compare.json"
    try:
        if not options.report:
            for saved in _run(options):
                record.write(saved, kept)
    except BenchmarkError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if options.quick:
        print(
            "\nThis was a quick run, which only checks that everything works. Ignore its figures, and the aims below."
        )
    return _show(record.read(kept), folder, page=_ROOT / "docs" / "benchmarks.md" if whole else None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help="rounds (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="skip measurements that would not end within this time")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="parts, loads and contestants to keep")
    parser.add_argument("--quick", action="store_true", help="short, and once")
    parser.add_argument("--report", action="store_true", help="write tables and pictures of the last run anew")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="CHECKOUT",
        help="another release of this service to compare with: a folder of the project with its .venv",
    )
    parser.add_argument(
        "--service",
        metavar="COMMAND",
        help="what starts this service (default: the recipe-api of this Python)",
    )
    return parser


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("one at least")
    return int(text)


def _run(options: argparse.Namespace) -> Iterator[record.Record]:
    """Yield the record of all measurements so far, after each of them."""
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise BenchmarkError(f"programs are missing; apt install {' '.join(missing)}")
    if options.service is None and (found := machine.imported_from()) != _ROOT / "src" / "recipe_api":
        raise BenchmarkError(f"this Python has the recipe_api of {found}; pip install -e {_ROOT}, or name a --service")
    install_express(CACHE)
    rounds = 1 if options.quick else options.rounds
    plan = loads(rounds=rounds, quick=options.quick)
    service = options.service or f"{shlex.quote(str(Path(sys.executable).parent / 'recipe-api'))} serve"
    everybody = contestants(CACHE, service=service, baseline=options.baseline)
    unknown = set(options.only) - {
        *PARTS,
        *plan,
        *everybody,
        *(name for load in plan.values() for name in load.straight),
    }
    if unknown:
        raise BenchmarkError(f"there is no {', '.join(sorted(unknown))}; see --help")
    before, began = machine.load_average(), time.monotonic()
    empty = record.Record(
        machine=machine.machine(),
        versions=machine.versions(CACHE / "express"),
        load_average=before,
        minutes=0,
        contestants={name: contestant.title for name, contestant in everybody.items()},
        loads={name: load.title for name, load in plan.items()},
    )
    todo = steps(plan, everybody, rounds=rounds, only=options.only)
    finished: list[Measurement] = []
    for each in measured(todo, everybody, seconds=options.minutes and options.minutes * 60):
        finished.append(each)
        yield replace(empty, minutes=(time.monotonic() - began) / 60, results=Results(finished))


def _show(kept: record.Record, folder: Path, *, page: Path | None) -> int:
    text = report(kept)
    print(f"\n{text}\n")
    for name, picture in plots(kept.results).items():
        (folder / name).write_text(picture)
    if page:
        paste(page, text)
    print(f"{folder} has the figures and the pictures.")
    return 1 if kept.results.void() else 0
