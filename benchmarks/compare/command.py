"""The service against what one would write instead: one machine, one store, one database, one process each.

    python benchmarks/compare            all of it, some 12 minutes; writes docs/benchmarks and the table in
                                         docs/benchmarks.md
    python benchmarks/compare --quick    a look at whether all works, 2 minutes; its figures are none

Needs, besides `pip install -e '.[dev]'`: nginx with its Lua module, wrk, node, npm, curl. The lesson's packages are
fetched once, into ~/.cache/recipe_api. Whatever it starts ends with it. Run it on a machine that does nothing else.
"""

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from compare.client import large_photo
from compare.database import database
from compare.figures import Measurement, Results
from compare.loads import Place
from compare.photos import MIB
from compare.plan import Load, loads
from compare.processes import BenchmarkError
from compare.servers import Contestant, contestants, install_express, serving
from compare.store import store

CACHE = Path.home() / ".cache" / "recipe_api" / "compare"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory is what is wanted
_PROGRAMS = {
    "nginx": "nginx-extras",
    "wrk": "wrk",
    "node": "nodejs",
    "npm": "npm",
    "curl": "curl",
    "setpriv": "util-linux",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison; the exit code is 1 where a measurement is void, 2 where it cannot run here."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="loads and contestants to keep")
    parser.add_argument("--quick", action="store_true", help="short, once: does it work?")
    parser.add_argument(
        "--service",
        default=f"{shlex.quote(str(Path(sys.executable).parent / 'recipe-api'))} serve",
        metavar="COMMAND",
        help="what starts this service (default: the recipe-api of this Python)",
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _check_programs()
        install_express(CACHE)
        results = _run(options)
    except BenchmarkError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    return 1 if results.void() else 0


def _check_programs() -> None:
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        raise BenchmarkError(f"not everything is there; apt install {' '.join(missing)}")


def _run(options: argparse.Namespace) -> Results:
    results = Results()
    everybody = contestants(CACHE, service=options.service)
    rounds = 1 if options.quick else options.rounds
    steps = list(_steps(loads(rounds=rounds, quick=options.quick), rounds=rounds, only=options.only))
    began = time.monotonic()
    with _place() as place:
        for number, (turn, load, name) in enumerate(steps, 1):
            print(
                f"[{number:3}/{len(steps)} {time.monotonic() - began:4.0f} s] {turn} {load.name} {name}: ",
                end="",
                flush=True,
            )
            found = _measured(place, load, everybody[name], turn=turn)
            results.measurements.append(found)
            print(found.void or " ".join(f"{name} {value:.4g}" for name, value in found.figures.items()), flush=True)
    return results


def _steps(plan: dict[str, Load], *, rounds: int, only: Sequence[str]) -> Iterator[tuple[int, Load, str]]:
    """Every measurement in its order: contestants alternate, and each round another one begins."""
    wanted_loads = [name for name in plan if name in only] or list(plan)
    for turn in range(1, rounds + 1):
        for load in (plan[name] for name in wanted_loads if turn <= plan[name].rounds):
            kept = [name for name in load.contestants if name in only] or list(load.contestants)
            begin = (turn - 1) % len(kept)
            for name in (*kept[begin:], *kept[:begin]):
                yield turn, load, name


def _measured(place: Place, load: Load, contestant: Contestant, *, turn: int) -> Measurement:
    environment = {**place.store.environment(), "DATABASE_URL": place.database.url}
    figures: dict[str, float] = {}
    void = ""
    try:
        with serving(contestant, environment=environment, folder=place.folder) as server:
            figures = load.measure(place, server)
    except BenchmarkError as error:
        void = str(error)
    return Measurement(load=load.name, contestant=contestant.name, round=turn, figures=figures, void=void)


@contextmanager
def _place() -> Iterator[Place]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-")))
        spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-", dir=_MEMORY)))
        yield Place(
            folder=folder,
            store=stack.enter_context(store(folder, spool=spool)),
            database=stack.enter_context(database(folder / "postgres")),
            source=stack.enter_context(large_photo(256 * MIB)),
        )
