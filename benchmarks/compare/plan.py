"""What is measured on whom, how long and how often."""

from collections.abc import Callable
from dataclasses import dataclass

from compare.loads import Place, crowd, many, one
from compare.photos import MIB
from compare.servers import Server

GROWTH_MIB = (16, 64, 256, 1024, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A load, and who bears it."""

    name: str
    title: str
    measure: Callable[[Place, Server], dict[str, float]]
    contestants: tuple[str, ...]
    rounds: int


def loads(*, rounds: int, quick: bool) -> dict[str, Load]:
    """All loads by name. `quick` is a look at whether all works: its figures are none."""
    all_three = ("service", "express", "naive")
    seconds, warm = (2, 1) if quick else (6, 2)
    count = 8 if quick else 64
    growth = (16, 64) if quick else GROWTH_MIB
    found = [
        Load(
            name="small",
            title="Photos of 50 kB over 32 connections",
            measure=many(50_000, connections=32, seconds=seconds, warm=warm),
            contestants=(*all_three, "discard"),
            rounds=rounds,
        ),
        Load(
            name="medium",
            title="Photos of 5 MB over 8 connections",
            measure=many(5_000_000, connections=8, seconds=seconds, warm=warm),
            contestants=(*all_three, "discard"),
            rounds=rounds,
        ),
        Load(
            name="large",
            title="One photo of 256 MiB",
            measure=one(256 * MIB),
            contestants=(*all_three, "discard"),
            rounds=rounds,
        ),
        Load(
            name="crowd",
            title=f"{count} photos of 64 MiB at once",
            measure=crowd(count, 64 * MIB),
            contestants=all_three,
            rounds=min(rounds, 3),
        ),
        *(
            Load(
                name=f"growth-{size}",
                title=f"One photo of {size} MiB",
                measure=one(size * MIB),
                contestants=("service", "express"),
                rounds=min(rounds, 3),
            )
            for size in growth
        ),
    ]
    return {load.name: load for load in found}
