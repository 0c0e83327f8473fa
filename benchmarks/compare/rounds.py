"""The measurements in their order: for each, a contestant is started, warmed up, measured and stopped."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from compare.client import large_photo
from compare.database import cluster
from compare.figures import Measurement
from compare.loads import Place
from compare.photos import MIB
from compare.plan import Load
from compare.processes import BenchmarkError
from compare.servers import Contestant, serving
from compare.store import store


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A planned measurement."""

    turn: int
    load: Load
    name: str
    """The name of a contestant or a reference."""


def steps(plan: Mapping[str, Load], contestants: Collection[str], *, rounds: int, only: Collection[str]) -> list[Step]:
    """Return all measurements in order: contestants alternate, and each round begins with another one.

    Args:
        plan: The loads by name.
        contestants: Who takes part.
        rounds: How many.
        only: Loads and contestants to keep; all if it names none.
    """
    chosen = [plan[name] for name in plan if name in only] or list(plan.values())
    return list(_steps(chosen, contestants, rounds, only))


def _steps(plan: Sequence[Load], contestants: Collection[str], rounds: int, only: Collection[str]) -> Iterator[Step]:
    for turn in range(1, rounds + 1):
        for load in (load for load in plan if turn <= load.rounds):
            names = [*(name for name in load.contestants if name in contestants), *load.straight]
            names = [name for name in names if name in only] or names
            begin = (turn - 1) % len(names)
            for name in (*names[begin:], *names[:begin]):
                yield Step(turn=turn, load=load, name=name)


def measured(todo: Sequence[Step], contestants: Mapping[str, Contestant]) -> Iterator[Measurement]:
    """Run the measurements one after the other, on one store and one database, and report progress."""
    began = time.monotonic()
    with _place() as place:
        for number, step in enumerate(todo, 1):
            clock = f"{number}/{len(todo)}, {time.monotonic() - began:.0f} s"
            print(f"[{clock:>13}] round {step.turn}, {step.load.name}, {step.name}: ", end="", flush=True)
            found = _measured(place, step, contestants)
            print(f"VOID: {found.void}" if found.void else _told(found.figures), flush=True)
            yield found


def _measured(place: Place, step: Step, contestants: Mapping[str, Contestant]) -> Measurement:
    load, figures, void = step.load, {}, ""
    try:
        if step.name in load.straight:
            figures = load.straight[step.name](place)
        else:
            contestant = contestants[step.name]
            database = place.cluster.database(contestant.name, contestant.migrate)
            environment = place.store.environment()
            with serving(
                contestant, database=database, environment=environment, folder=place.folder, busy=load.busy
            ) as server:
                figures = load.measure(place, server)
    except BenchmarkError as error:
        void = str(error)
    return Measurement(load=load.name, contestant=step.name, round=step.turn, figures=figures, void=void)


def _told(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


@contextmanager
def _place() -> Iterator[Place]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="compare-")))
        yield Place(
            folder=folder,
            store=stack.enter_context(store(folder)),
            cluster=stack.enter_context(cluster(folder / "postgres")),
            source=stack.enter_context(large_photo(256 * MIB)),
        )
