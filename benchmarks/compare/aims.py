"""The aims: ratios within one run, so that they mean the same on any machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from compare.figures import Results, Spread

BUDGET_MIB = 48
"""`UPLOAD_BUFFER_BYTES`, by default."""
CHUNK_MIB = 0.25
"""What a connection uses in addition: the chunk that it has read and that waits for the budget."""
CROWD = 64
FLAT = 1.25
"""The largest ratio of two figures that count as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One aim and its result."""

    title: str
    wanted: str
    measured: str
    met: bool


def aims(results: Results) -> list[Aim]:
    """Return all aims for which there are figures."""
    pieces = (_throughput, _large, _memory, _growth, _start, _reading, _dyno)
    return [aim for piece in pieces for aim in piece(results)]


def _throughput(results: Results) -> Iterator[Aim]:
    for load, photos, peer, title, wanted in (
        ("small", "50 kB photos per second", "express", "Express", 2.5),
        ("small", "50 kB photos per second", "naive", "`UploadFile`", 6.0),
        ("medium", "5 MB photos per second", "express", "Express", 2.8),
        ("medium", "5 MB photos per second", "sharp", "Express with sharp", 10.0),
        ("medium", "5 MB photos per second", "pillow", "`UploadFile` with Pillow", 10.0),
        ("small", "50 kB photos per second", "keep", "`PHOTO_METADATA=keep`", 0.93),
        ("medium", "5 MB photos per second", "keep", "`PHOTO_METADATA=keep`", 0.9),
        ("far-small", "far store, 50 kB photos per second", "express", "Express", 3.0),
        ("far-small", "far store, 50 kB photos per second", "naive", "`UploadFile`", 6.0),
        ("far-medium", "far store, 5 MB photos per second", "express", "Express", 3.2),
    ):
        ratio = results.ratio(load, ("service", "per_second"), (peer, "per_second"))
        if ratio:
            yield _at_least(f"{photos}, relative to {title}", ratio, wanted)


def _large(results: Results) -> Iterator[Aim]:
    for load, title, wanted in (("large", "256 MiB", 1.5), ("far-large", "far store, 256 MiB", 1.3)):
        ratio = results.ratio(load, ("service", "seconds"), ("curl", "seconds"))
        if ratio:
            yield _at_most(f"{title}: time, relative to curl straight to the store", ratio, wanted)
    ratio = results.ratio("large", ("express", "seconds"), ("service", "seconds"))
    if ratio:
        yield _at_least("256 MiB: time of Express, relative to ours", ratio, 1.5)
    last = results.spread("large", "service", "last_byte_ms")
    steps = [results.spread("large", "steps", name) for name in ("part_ms", "complete_ms", "commit_ms")]
    if last and all(steps):
        part, complete, commit = (step.median for step in steps if step)
        allowed = part + complete + commit
        yield Aim(
            title="256 MiB: last byte to response, compared with one part's PUT, Complete and commit in sequence",
            wanted=f"at most {allowed:.1f} ms ({part:.1f} + {complete:.1f} + {commit:.1f})",
            measured=f"{last.median:.1f} ms ({last.low:.1f}-{last.high:.1f})",
            met=last.median <= allowed,
        )


def _memory(results: Results) -> Iterator[Aim]:
    ratio = results.ratio("crowd", ("service", "peak_mib"), ("express", "peak_mib"))
    if ratio:
        yield _at_most(f"{CROWD} photos of 64 MiB at once: peak memory, relative to Express", ratio, 0.25)
    idle, peak = (results.spread("crowd", "service", name) for name in ("idle_mib", "peak_mib"))
    if idle and peak:
        allowed = BUDGET_MIB + CROWD * CHUNK_MIB
        yield Aim(
            title="the same: memory above idle, compared with the budget and a chunk of 256 KiB per connection",
            wanted=f"at most {allowed:.0f} MiB ({BUDGET_MIB} + {CROWD * CHUNK_MIB:.0f})",
            measured=f"{peak.median - idle.median:.0f} MiB",
            met=peak.median - idle.median <= allowed,
        )


def _growth(results: Results) -> Iterator[Aim]:
    seconds, peaks = (
        {size: spread.median for size, spread in growth(results, "service", figure)}
        for figure in ("seconds", "peak_mib")
    )
    further = [
        (seconds[larger] - seconds[smaller]) / (larger - smaller) for smaller, larger in pairwise(sorted(seconds))
    ]
    for found, title in (
        (further, "16 MiB to 2 GiB: time per additional MiB, highest relative to lowest"),
        (list(peaks.values()), "16 MiB to 2 GiB: peak memory, highest relative to lowest"),
    ):
        if len(found) > 1:
            ratio = max(found) / min(found)
            yield Aim(title=title, wanted=f"at most {FLAT}", measured=f"{ratio:.2f}", met=ratio <= FLAT)


def _start(results: Results) -> Iterator[Aim]:
    for figure, title, unit, wanted in (
        ("idle_pss_mb", "two workers, idle: PSS of the process tree", "MB", 150),
        ("first_201_seconds", "two workers: from the start to the first 201", "s", 1.5),
    ):
        found = results.spread("start", "service", figure)
        if found:
            wording = f"at most {wanted:g} {unit}"
            measured = f"{found.median:.3g} {unit} ({found.low:.3g}-{found.high:.3g})"
            yield Aim(title=title, wanted=wording, measured=measured, met=found.median <= wanted)


def _reading(results: Results) -> Iterator[Aim]:
    for load, rows in (("reading-few", "1,000"), ("reading-many", "3,000,000")):
        ratio = results.ratio(load, ("service", "list_per_second"), ("naive", "list_per_second"))
        if ratio:
            yield _at_least(f"{rows} rows: lists of 50 per second, relative to SQLModel in FastAPI", ratio, 2.0)
    ratio = results.ratio("reading-many", ("service", "list_per_second"), ("service", "last_page_per_second"))
    if ratio:
        yield _at_most("3,000,000 rows: time for the last page, relative to the first", ratio, 1.2)


def _dyno(results: Results) -> Iterator[Aim]:
    for figure, title in (("failed", "failed requests"), ("killed", "killed processes")):
        found = results.spread("dyno", "service", figure)
        if found:
            measured = f"{found.high:.0f}"
            yield Aim(title=f"everything at once on a dyno: {title}", wanted="0", measured=measured, met=not found.high)


def growth(results: Results, contestant: str, figure: str) -> list[tuple[int, Spread]]:
    """Return a figure by the size of the photo in MiB."""
    named = {name for each in results.measurements for name in each.figures if each.load == "growth"}
    sizes = sorted(int(name.removeprefix(f"{figure}_")) for name in named if name.startswith(f"{figure}_"))
    found = ((size, results.spread("growth", contestant, f"{figure}_{size}")) for size in sizes)
    return [(size, spread) for size, spread in found if spread]


def _at_least(title: str, ratio: Spread, wanted: float) -> Aim:
    return Aim(title=title, wanted=f"at least {wanted:g}", measured=_spread(ratio), met=ratio.median >= wanted)


def _at_most(title: str, ratio: Spread, wanted: float) -> Aim:
    return Aim(title=title, wanted=f"at most {wanted:g}", measured=_spread(ratio), met=ratio.median <= wanted)


def _spread(ratio: Spread) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
