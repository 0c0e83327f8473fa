"""What is measured on which contestants, how long and how often."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compare import straight
from compare.loads import Place, crowd, growth, many, one
from compare.photos import MIB
from compare.servers import Server

GROWTH_MIB = (16, 64, 256, 1024, 2048)
_LARGE = 256 * MIB
_LARGE_TIMES = 5
_GROWTH_TIMES = 3
_STORE_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load and its contestants."""

    name: str
    title: str
    measure: Callable[[Place, Server], dict[str, float]]
    contestants: tuple[str, ...]
    rounds: int
    straight: Mapping[str, Callable[[Place], dict[str, float]]] = field(default_factory=dict)
    """References that are measured as well, without a contestant."""
    busy: bool = False
    """Whether the load is about many small requests rather than memory. Contestants may have another configuration for
    it."""


def loads(*, rounds: int, quick: bool) -> dict[str, Load]:
    """Return all loads by name. `quick` only checks that everything works."""
    times = 1 if quick else _LARGE_TIMES
    found = [
        _stream("small", "Photos of 50 kB", size=50_000, connections=32, rounds=rounds, quick=quick),
        _stream("medium", "Photos of 5 MB", size=5_000_000, connections=8, rounds=rounds, quick=quick),
        Load(
            name="large",
            title="One photo of 256 MiB",
            measure=one(_LARGE, times=times),
            contestants=("service", "baseline", "express", "naive", "discard"),
            rounds=rounds,
            straight={
                "curl": lambda place: straight.by_curl(place, _LARGE, times=times),
                "store": lambda place: straight.by_our_client(place, _LARGE, times=times),
                "steps": straight.last_steps,
            },
        ),
        _crowd(8 if quick else 64, rounds=min(rounds, 3)),
        Load(
            name="growth",
            title="One photo of 16 MiB to 2 GiB",
            measure=growth((16, 64) if quick else GROWTH_MIB, times=1 if quick else _GROWTH_TIMES),
            contestants=("service", "baseline", "express"),
            rounds=min(rounds, 3),
        ),
    ]
    return {load.name: load for load in found}


def _stream(name: str, title: str, *, size: int, connections: int, rounds: int, quick: bool) -> Load:
    seconds, warm = (2, 1) if quick else (5, 8)  # Node's compiler takes some seconds until it has seen enough
    return Load(
        name=name,
        title=f"{title} over {connections} connections",
        measure=many(size, connections=connections, seconds=seconds, warm=warm),
        contestants=("service", "baseline", "keep", "express", "naive", "discard"),
        rounds=rounds,
        straight={
            "store": lambda place: straight.many(
                place, size=size, connections=connections, seconds=min(seconds, _STORE_SECONDS)
            )
        },
        busy=True,
    )


def _crowd(count: int, *, rounds: int) -> Load:
    return Load(
        name="crowd",
        title=f"{count} photos of 64 MiB at once",
        measure=crowd(count, 64 * MIB),
        contestants=("service", "baseline", "express", "naive"),
        rounds=rounds,
    )
