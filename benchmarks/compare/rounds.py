"""The measurements in their order: for each, a contestant is started, warmed up, measured and stopped."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from compare.client import LargePhoto, large_photo
from compare.contestants import Contestant
from compare.database import Cluster, cluster
from compare.figures import Measurement
from compare.limits import limits
from compare.loads import Place
from compare.photos import MIB
from compare.plan import Step
from compare.processes import BenchmarkError
from compare.progress import Progress
from compare.servers import serving
from compare.store import STORES, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What the whole comparison shares."""

    folder: Path
    cluster: Cluster
    source: LargePhoto
    running: ExitStack
    stores: dict[str, Store] = field(default_factory=dict)

    def place(self, store: str) -> Place:
        """Return the place with this store, which is started on first use."""
        if store not in self.stores:
            self.stores[store] = self.running.enter_context(STORES[store](self.folder / store))
        return Place(folder=self.folder, store=self.stores[store], cluster=self.cluster, source=self.source)


def measured(
    todo: Sequence[Step], contestants: Mapping[str, Contestant], *, seconds: float | None
) -> Iterator[Measurement]:
    """Run the measurements one after the other, on the same stores and one PostgreSQL, and report progress.

    Args:
        todo: The measurements.
        contestants: All contestants by name.
        seconds: The time limit. Measurements that would exceed it are skipped; None for no limit.
    """
    progress = Progress(todo)
    with _site() as site:
        for number, step in enumerate(todo, 1):
            print(
                f"[{progress.clock(number):>24}] round {step.turn}, {step.load.name}, {step.name}: ", end="", flush=True
            )
            if seconds is not None and progress.elapsed + progress.expected(step) > seconds:
                print("skipped for lack of time", flush=True)
                continue
            began = time.monotonic()
            found = _measured(site.place(step.load.store), step, contestants)
            progress.note(step, time.monotonic() - began)
            print(f"VOID: {found.void}" if found.void else _told(found.figures), flush=True)
            yield found


def _measured(place: Place, step: Step, contestants: Mapping[str, Contestant]) -> Measurement:
    load, figures, void = step.load, {}, ""
    try:
        if step.name in load.straight:
            figures = load.straight[step.name](place)
        else:
            figures = _run(place, step, contestants[step.name])
    except BenchmarkError as error:
        void = str(error)
    except Exception as error:  # noqa: BLE001 - recorded, so that one failure does not lose the other results
        void = repr(error)
    return Measurement(load=load.name, contestant=step.name, round=step.turn, figures=figures, void=void)


def _run(place: Place, step: Step, contestant: Contestant) -> dict[str, float]:
    load = step.load
    if load.measure is None:
        raise BenchmarkError(f"{load.name} has no contestants")
    database = place.cluster.database(f"{load.name}-{contestant.name}", contestant.migrate)
    busy = contestant.busy_environment if load.busy else {}
    with (
        limits() if load.is_limited else nullcontext() as found,
        serving(
            contestant,
            database=database,
            environment={**busy, **load.environment, **place.store.environment()},
            folder=place.folder,
            is_ready=load.is_ready,
            limits=found,
        ) as server,
    ):
        return load.measure(place, server)


def _told(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


@contextmanager
def _site() -> Iterator[_Site]:
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="compare-")))
        yield _Site(
            folder=folder,
            cluster=running.enter_context(cluster(folder / "postgres")),
            source=running.enter_context(large_photo(256 * MIB)),
            running=running,
        )
