"""Compares the service with its alternatives: one machine, one store, one database, one process each.

    python benchmarks/compare            everything, about 15 minutes; writes docs/benchmarks/ and the tables in
                                         docs/benchmarks.md
    python benchmarks/compare --quick    checks that everything works, in 2 minutes; its figures mean nothing
    python benchmarks/compare --only small service express
                                         one load, two contestants
    python benchmarks/compare --only small medium service baseline --baseline CHECKOUT
                                         this release and another one in turn
    python benchmarks/compare --report   writes the tables and pictures of the last full run again

Loads: small (50 kB), medium (5 MB), large (256 MiB), crowd (64 of 64 MiB at once), growth (16 MiB to 2 GiB).
Contestants: service, baseline, keep, express, naive, discard; for reference: store, curl and steps.

Needs the packages of `pip install -e '.[test]'`, which `scripts/test` leaves in .venv, and nginx with its Lua module,
wrk, node, npm, curl, setpriv. Express and its packages are fetched once, into ~/.cache/recipe_api. All processes that
it starts end with it. Run it on a machine that does nothing else. --quick and --only write to .cache/compare, and leave
docs/ alone; --report with one of them reads there. What the names of figures mean is in benchmarks/compare/figures.py.
"""

import argparse
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from compare import machine, record
from compare.figures import Results
from compare.plan import loads
from compare.plots import plots
from compare.processes import BenchmarkError
from compare.report import paste, report
from compare.rounds import measured, steps
from compare.servers import contestants, install_express

ROUNDS = 5
CACHE = Path.home() / ".cache" / "recipe_api" / "compare"
_ROOT = Path(__file__).parents[2]
_PROGRAMS = {
    "nginx": "nginx-extras",
    "wrk": "wrk",
    "node": "nodejs",
    "npm": "npm",
    "curl": "curl",
    "setpriv": "util-linux",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; the exit code is 1 if a measurement is invalid, and 2 if it cannot run here."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is stopped in order
    whole = not (options.quick or options.only)
    folder = _ROOT / "docs" / "benchmarks" if whole else _ROOT / ".cache" / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "compare.json"
    try:
        if not options.report:
            record.write(_run(options), kept)
    except BenchmarkError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    if options.quick:
        print("\nA quick run: it tells whether all works. Its figures mean nothing, whatever is said below of aims.")
    return _show(record.read(kept), folder, page=_ROOT / "docs" / "benchmarks.md" if whole else None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help="rounds (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="loads and contestants to keep")
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


def _run(options: argparse.Namespace) -> record.Record:
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise BenchmarkError(f"not everything is there; apt install {' '.join(missing)}")
    if options.service is None and (found := machine.imported_from()) != _ROOT / "src" / "recipe_api":
        raise BenchmarkError(f"this Python has the recipe_api of {found}; pip install -e {_ROOT}, or name a --service")
    install_express(CACHE)
    rounds = 1 if options.quick else options.rounds
    plan = loads(rounds=rounds, quick=options.quick)
    service = options.service or f"{shlex.quote(str(Path(sys.executable).parent / 'recipe-api'))} serve"
    everybody = contestants(CACHE, service=service, baseline=options.baseline)
    unknown = set(options.only) - {*plan, *everybody, *(name for load in plan.values() for name in load.straight)}
    if unknown:
        raise BenchmarkError(f"there is no {', '.join(sorted(unknown))}; see --help")
    before, began = machine.load_average(), time.monotonic()
    found = list(measured(steps(plan, everybody, rounds=rounds, only=options.only), everybody))
    return record.Record(
        machine=machine.machine(),
        versions=machine.versions(CACHE / "express"),
        load_average=before,
        minutes=(time.monotonic() - began) / 60,
        contestants={name: contestant.title for name, contestant in everybody.items()},
        loads={name: load.title for name, load in plan.items()},
        results=Results(found),
    )


def _show(kept: record.Record, folder: Path, *, page: Path | None) -> int:
    text = report(kept)
    print(f"\n{text}\n")
    for name, picture in plots(kept.results).items():
        (folder / name).write_text(picture)
    if page:
        paste(page, text)
    print(f"{folder} has the figures and the pictures.")
    return 1 if kept.results.void() else 0
