"""What is measured on which contestants, how long and how often, and in which order."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compare import straight
from compare.dyno import dyno
from compare.loads import Place, crowd, growth, many, one
from compare.photos import MIB
from compare.reading import CONNECTIONS, reading, sweeping
from compare.servers import Server, is_listening
from compare.start import accepts_uploads, importing, rest

GROWTH_MIB = (16, 64, 256, 1024, 2048)
PARTS = ("near", "far", "start", "reading", "dyno")
_LARGE = 256 * MIB
_LARGE_TIMES = 5
_GROWTH_TIMES = 3
_STORE_SECONDS = 3
_DYNO = {"WEB_CONCURRENCY": "2", "RENDITIONS": "320,960,1920", "MAX_UPLOAD_BYTES": str(64 * MIB)}
"""The configuration on a dyno."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load and its contestants."""

    name: str
    part: str
    """One of `PARTS`."""
    title: str
    contestants: tuple[str, ...]
    rounds: int
    seconds: float
    """Approximately how long one measurement takes."""
    measure: Callable[[Place, Server], dict[str, float]] | None = None
    """None if the load has only references."""
    straight: Mapping[str, Callable[[Place], dict[str, float]]] = field(default_factory=dict)
    """References that are measured as well, without a contestant."""
    busy: bool = False
    """Whether the load is about many small requests rather than memory. Contestants may have another configuration for
    it."""
    store: str = "near"
    """The name of the store."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for all contestants."""
    is_ready: Callable[[int], bool] = is_listening
    """Whether the contestant at a port is ready."""
    is_limited: bool = False
    """Whether the contestant is limited to the memory and the CPU time of a small dyno."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A planned measurement."""

    turn: int
    load: Load
    name: str
    """The name of a contestant or a reference."""


def loads(*, rounds: int, quick: bool) -> dict[str, Load]:
    """Return all loads by name. `quick` only checks that everything works."""
    found = [*_near(rounds, quick=quick), *_far(rounds, quick=quick), *_others(rounds, quick=quick)]
    return {load.name: load for load in found}


def steps(plan: Mapping[str, Load], contestants: Collection[str], *, rounds: int, only: Collection[str]) -> list[Step]:
    """Return all measurements in order: contestants alternate, and each round begins with another one.

    Args:
        plan: The loads by name.
        contestants: The names of those that take part.
        rounds: The number of rounds.
        only: Parts, loads and contestants to keep; all if it names none.
    """
    chosen = [load for load in plan.values() if load.name in only or load.part in only] or list(plan.values())
    return list(_steps(chosen, contestants, rounds, only))


def _steps(plan: Sequence[Load], contestants: Collection[str], rounds: int, only: Collection[str]) -> Iterator[Step]:
    for turn in range(1, rounds + 1):
        for load in (load for load in plan if turn <= load.rounds):
            names = [*(name for name in load.contestants if name in contestants), *load.straight]
            names = [name for name in names if name in only] or names
            begin = (turn - 1) % len(names)
            for name in (*names[begin:], *names[:begin]):
                yield Step(turn=turn, load=load, name=name)


def _near(rounds: int, *, quick: bool) -> Iterator[Load]:
    yield _stream("small", "Photos of 50 kB", size=50_000, connections=32, rounds=rounds, quick=quick)
    yield _stream("medium", "Photos of 5 MB", size=5_000_000, connections=8, rounds=rounds, quick=quick)
    times = 1 if quick else _LARGE_TIMES
    yield Load(
        name="large",
        part="near",
        title="One photo of 256 MiB",
        measure=one(_LARGE, times=times),
        contestants=("service", "baseline", "express", "naive", "discard"),
        rounds=rounds,
        seconds=6,
        straight={
            "curl": lambda place: straight.by_curl(place, _LARGE, times=times),
            "store": lambda place: straight.by_our_client(place, _LARGE, times=times),
            "steps": straight.last_steps,
        },
    )
    crowded = 8 if quick else 64
    yield Load(
        name="crowd",
        part="near",
        title=f"{crowded} photos of 64 MiB at once",
        measure=crowd(crowded, 64 * MIB),
        contestants=("service", "baseline", "express", "naive"),
        rounds=min(rounds, 3),
        seconds=20,
    )
    yield Load(
        name="growth",
        part="near",
        title="One photo of 16 MiB to 2 GiB",
        measure=growth((16, 64) if quick else GROWTH_MIB, times=1 if quick else _GROWTH_TIMES),
        contestants=("service", "baseline", "express"),
        rounds=min(rounds, 3),
        seconds=40,
    )


def _far(rounds: int, *, quick: bool) -> Iterator[Load]:
    yield _stream("far-small", "Photos of 50 kB", size=50_000, connections=64, rounds=rounds, quick=quick, far=True)
    yield _stream("far-medium", "Photos of 5 MB", size=5_000_000, connections=16, rounds=rounds, quick=quick, far=True)
    times = 1 if quick else _LARGE_TIMES
    yield Load(
        name="far-large",
        part="far",
        title="One photo of 256 MiB, store far away",
        measure=one(_LARGE, times=times),
        contestants=("service", "baseline", "express", "naive"),
        rounds=rounds,
        seconds=8,
        straight={"curl": lambda place: straight.by_curl(place, _LARGE, times=times)},
        store="far",
    )


def _others(rounds: int, *, quick: bool) -> Iterator[Load]:
    yield Load(
        name="start",
        part="start",
        title="Startup and idle memory",
        measure=rest,
        contestants=("service", "baseline", "express", "naive"),
        rounds=rounds,
        seconds=8,
        straight={"import": importing},
        environment=_DYNO,
        is_ready=accepts_uploads,
        store="whole",  # the renderer reads the photo
    )
    seconds = 1 if quick else 3
    many_rows = 20_000 if quick else 3_000_000
    yield _reading("reading-few", 1_000, rounds=rounds, seconds=seconds)
    yield _reading("reading-many", many_rows, rounds=rounds, seconds=seconds)
    yield Load(
        name="sweep",
        part="reading",
        title=f"A sweep over {many_rows:,} recipes",
        contestants=(),
        rounds=1,
        seconds=100,
        straight={"sweep": sweeping(many_rows, database="reading-many-service")},
    )
    yield Load(
        name="dyno",
        part="dyno",
        title="Everything at once on a small dyno",
        measure=dyno(seconds=10 if quick else 180),
        contestants=("service",),
        rounds=1,
        seconds=190,
        store="whole",
        environment=_DYNO,
        is_limited=True,
    )


def _stream(name: str, title: str, *, size: int, connections: int, rounds: int, quick: bool, far: bool = False) -> Load:
    seconds, warm = (2, 1) if quick else (5, 8)  # Node's compiler takes some seconds until it has seen enough
    return Load(
        name=name,
        part="far" if far else "near",
        title=f"{title} over {connections} connections{', store far away' if far else ''}",
        measure=many(size, connections=connections, seconds=seconds, warm=warm),
        contestants=("service", "baseline", "express", "naive")
        if far
        else ("service", "baseline", "keep", "express", "sharp", "naive", "pillow", "discard"),
        rounds=rounds,
        seconds=16,
        straight={
            "store": lambda place: straight.many(
                place, size=size, connections=connections, seconds=min(seconds, _STORE_SECONDS)
            )
        },
        busy=True,
        store="far" if far else "near",
    )


def _reading(name: str, count: int, *, rounds: int, seconds: float) -> Load:
    return Load(
        name=name,
        part="reading",
        title=f"Reading from {count:,} recipes over {CONNECTIONS} connections",
        measure=reading(count, seconds=seconds),
        contestants=("service", "express", "naive"),
        rounds=rounds,
        seconds=18,
        busy=True,
    )
