"""The pictures of a run: what each shows is in `PLOTS`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compare.aims import growth
from compare.figures import Results, Spread
from compare.svg import FAINT, GRID, INK, Picture

WIDTH = 760
_LEFT, _RIGHT = 170, 150  # pixels beside the bars: names, figures
_ROW, _BAR = 34, 20
_NAMES = {
    "service": "recipe_api",
    "baseline": "the other release",
    "express": "Express + multer-s3",
    "keep": "metadata kept",
    "naive": "UploadFile",
    "sharp": "Express + sharp",
    "pillow": "UploadFile + Pillow",
    "discard": "app that discards",
    "store": "straight to the store",
    "curl": "straight, by curl",
}
_COLOURS = {
    "service": "#0969da",
    "express": "#bf8700",
    "sharp": "#bf8700",
    "naive": "#8250df",
    "pillow": "#8250df",
}
_LIMIT = "#8c959f"
_PALE = {"service": "#9fc9f5", "express": "#ecd08a", "naive": "#cdb5f4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture: its file name, the load to whose section it belongs, and what it shows."""

    name: str
    load: str
    describes: str
    draw: Callable[[Results, str], Picture | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """One bar: a length, a darker end or a paler beginning, and its labels."""

    name: str
    length: float
    spread: tuple[float, float] | None
    words: str
    pale: float = 0
    """How much of the bar, from its beginning, is drawn paler."""


def plots(results: Results) -> dict[str, str]:
    """Return the files that can be drawn, by name."""
    drawn = {plot.name: plot.draw(results, plot.describes) for plot in PLOTS}
    return {f"{name}.svg": picture.written() for name, picture in drawn.items() if picture}


def _throughput(load: str, title: str, *, figure: str = "per_second") -> Callable[[Results, str], Picture | None]:
    def draw(results: Results, describes: str) -> Picture | None:
        found = _found(results, load, figure, ("service", "express", "sharp", "naive", "pillow"))
        ours = found.get("service")
        bars = []
        for name, spread in found.items():
            times = f"   {ours.median / spread.median:.1f}x" if ours and name != "service" else ""
            bars.append(_bar(name, spread, f"{_number(spread.median)}/s", times and f"ours:{times.strip():>6}"))
        notes = [
            f"{_NAMES[name]}: {_number(limit.median)}/s"
            for name, limit in _found(results, load, "per_second", ("discard", "store")).items()
        ]
        return _bars(describes, title, bars, note="The limits: " + ", ".join(notes) if notes else "")

    return draw


def _latency(load: str, title: str) -> Callable[[Results, str], Picture | None]:
    def draw(results: Results, describes: str) -> Picture | None:
        medians = _found(results, load, "median_ms", ("service", "express", "naive"))
        highs = _found(results, load, "p99_ms", tuple(medians))
        if not medians:
            return None
        picture, scale = _framed(describes, title, rows=len(medians), top=max(each.median for each in highs.values()))
        for row, name in enumerate(medians):
            y = 52 + row * _ROW + _BAR / 2
            x, end = _LEFT + medians[name].median * scale, _LEFT + highs[name].median * scale
            picture.text(_LEFT - 12, y + 5, _NAMES[name], anchor="end", bold=name == "service")
            picture.line([(x, y), (end, y)], colour=_PALE[name], width=6)
            picture.dot(x, y, _COLOURS[name], radius=6)
            picture.dot(end, y, _COLOURS[name], radius=5, hollow=True)
            words = f"{_number(medians[name].median)} ms, p99 {_number(highs[name].median)} ms"
            picture.text(end + 14, y + 5, words, colour=INK)
        return picture

    return draw


def _large(load: str, title: str) -> Callable[[Results, str], Picture | None]:
    def draw(results: Results, describes: str) -> Picture | None:
        bars = []
        names = ("service", "express", "naive", "discard", "curl", "store")
        for name, spread in _found(results, load, "seconds", names).items():
            last = results.spread(load, name, "last_byte_ms")
            waited = last.median / 1e3 if last and name in _COLOURS else 0
            after = f"{_number(waited * 1e3)} ms after the last byte" if waited else ""
            pale = spread.median - waited if waited else 0
            bars.append(_bar(name, spread, f"{spread.median:.2f} s", after, pale=pale))
        return _bars(describes, f"{title}: seconds; dark: after the last byte was sent", bars, right=210)

    return draw


def _start(results: Results, describes: str) -> Picture | None:
    bars = []
    for name, spread in _found(results, "start", "idle_pss_mb", ("service", "express", "naive")).items():
        first = results.spread("start", name, "first_201_seconds")
        words = f"first 201 after {first.median:.2f} s" if first else ""
        bars.append(_bar(name, spread, f"{_number(spread.median)} MB", words))
    return _bars(describes, "Idle memory (PSS); two workers of recipe_api, one process of the others", bars, right=230)


def _memory(results: Results, describes: str) -> Picture | None:
    bars = []
    for name, spread in _found(results, "crowd", "peak_mib", ("service", "express", "naive")).items():
        idle = results.spread("crowd", name, "idle_mib")
        speed = results.spread("crowd", name, "megabytes")
        words = f"at {_number(speed.median)} MB/s" if speed else ""
        bars.append(_bar(name, spread, f"{_number(spread.median)} MiB", words, pale=idle.median if idle else 0))
    return _bars(describes, "64 photos of 64 MiB at once: peak memory; pale: before", bars)


def _cpu(results: Results, describes: str) -> Picture | None:
    bars = []
    for name, spread in _found(results, "small", "cpu_ms", ("service", "express", "naive")).items():
        large = results.spread("large", name, "cpu_per_gib")
        words = f"256 MiB: {large.median:.1f} s per GiB" if large else ""
        bars.append(_bar(name, spread, f"{spread.median:.2f} ms", words))
    return _bars(describes, "CPU time of one upload of 50 kB, milliseconds", bars, right=230)


def _growth(results: Results, describes: str) -> Picture | None:
    panels = (("seconds", True, "Milliseconds per MiB"), ("peak_mib", False, "Peak memory, MiB"))
    if len(growth(results, "service", "seconds")) < 2:
        return None
    picture = Picture(WIDTH, 300, describes)
    for column, (figure, each, title) in enumerate(panels):
        lines = {
            name: [
                (size, spread.median * 1e3 / size if each else spread.median)
                for size, spread in growth(results, name, figure)
            ]
            for name in ("service", "express")
        }
        _panel(picture, 20 + column * 375, title, lines)
    return picture


def _panel(picture: Picture, x: float, title: str, lines: dict[str, list[tuple[int, float]]]) -> None:
    left, right, top, bottom = x + 40, x + 345, 62.0, 250.0
    highest = _rounded_up(max(value for points in lines.values() for _, value in points))
    sizes = sorted({size for points in lines.values() for size, _ in points})
    first, last = math.log2(sizes[0]), math.log2(sizes[-1])
    picture.text(x, 30, title, size=15, bold=True)
    for step in range(5):
        y = bottom - (bottom - top) * step / 4
        picture.line([(left, y), (right, y)])
        picture.text(left - 8, y + 4, _number(highest * step / 4), size=11, colour=FAINT, anchor="end")
    for size in sizes:
        at = left + (right - left) * (math.log2(size) - first) / (last - first)
        label = f"{size} MiB" if size < 1024 else f"{size // 1024} GiB"
        picture.text(at, bottom + 20, label, size=11, colour=FAINT, anchor="middle")
    for name, points in lines.items():
        placed = [
            (
                left + (right - left) * (math.log2(size) - first) / (last - first),
                bottom - (bottom - top) * value / highest,
            )
            for size, value in points
        ]
        if not placed:
            continue
        picture.line(placed, colour=_COLOURS[name], width=2.5)
        for at in placed:
            picture.dot(*at, _COLOURS[name])
        words = f"{_NAMES[name]} {_number(points[-1][1])}"
        picture.text(right, placed[-1][1] - 10, words, size=12, colour=_COLOURS[name], anchor="end", bold=True)


def _bars(describes: str, title: str, bars: Sequence[_Bar], *, right: int = _RIGHT, note: str = "") -> Picture | None:
    if not bars:
        return None
    top = max(max(bar.length, bar.spread[1] if bar.spread else 0) for bar in bars)
    picture, scale = _framed(describes, title, rows=len(bars), top=top, right=right, note=note)
    for row, bar in enumerate(bars):
        y = 52 + row * _ROW
        colour = _COLOURS.get(bar.name, _LIMIT)
        picture.text(_LEFT - 12, y + 15, _NAMES[bar.name], anchor="end", bold=bar.name == "service")
        picture.bar(_LEFT, y, bar.length * scale, _BAR, colour)
        if bar.pale:
            picture.bar(_LEFT, y, bar.pale * scale, _BAR, _PALE.get(bar.name, GRID))
        end = bar.length
        if bar.spread:
            low, high = (_LEFT + value * scale for value in bar.spread)
            picture.line([(low, y + _BAR / 2), (high, y + _BAR / 2)], colour=INK, width=1.5)
            end = max(end, bar.spread[1])
        picture.text(_LEFT + end * scale + 8, y + 15, bar.words)
    return picture


def _framed(
    describes: str, title: str, *, rows: int, top: float, right: int = _RIGHT, note: str = ""
) -> tuple[Picture, float]:
    """Return a picture with its title, and the number of pixels per unit."""
    height = 52 + rows * _ROW + (30 if note else 8)
    picture = Picture(WIDTH, height, describes)
    picture.text(20, 30, title, size=15, bold=True)
    picture.line([(_LEFT, 46), (_LEFT, 52 + rows * _ROW - 8)], colour=FAINT)
    if note:
        picture.text(20, height - 16, note, size=12, colour=FAINT)
    return picture, (WIDTH - _LEFT - right) / top


def _bar(name: str, spread: Spread, words: str, more: str = "", *, pale: float = 0) -> _Bar:
    ends = (spread.low, spread.high) if spread.low != spread.high else None
    return _Bar(name=name, length=spread.median, spread=ends, words=f"{words}   {more}" if more else words, pale=pale)


def _found(results: Results, load: str, figure: str, names: Sequence[str]) -> dict[str, Spread]:
    spreads = {name: results.spread(load, name, figure) for name in names}
    return {name: spread for name, spread in spreads.items() if spread}


def _rounded_up(value: float) -> float:
    """Return the next round number whose quarters are round as well."""
    magnitude = 10 ** math.floor(math.log10(value))
    return next(step * magnitude for step in (1, 1.2, 1.6, 2, 2.4, 3, 4, 6, 8, 10) if step * magnitude >= value)


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


PLOTS = (
    Plot(
        name="small",
        load="small",
        describes="Uploads of 50 kB a second over 32 connections",
        draw=_throughput("small", "Photos of 50 kB over 32 connections: uploads a second"),
    ),
    Plot(
        name="small-latency",
        load="small",
        describes="Latency of uploads of 50 kB, median and 99th percentile",
        draw=_latency("small", "Photos of 50 kB over 32 connections: latency, median and p99"),
    ),
    Plot(name="cpu", load="small", describes="CPU time of one upload of 50 kB", draw=_cpu),
    Plot(
        name="medium",
        load="medium",
        describes="Uploads of 5 MB a second over 8 connections",
        draw=_throughput("medium", "Photos of 5 MB over 8 connections: uploads a second"),
    ),
    Plot(
        name="large",
        load="large",
        describes="Seconds for one photo of 256 MiB",
        draw=_large("large", "One photo of 256 MiB"),
    ),
    Plot(
        name="far-small",
        load="far-small",
        describes="Uploads of 50 kB a second over 64 connections, with the store far away",
        draw=_throughput("far-small", "Store far away, 50 kB over 64 connections: uploads a second"),
    ),
    Plot(
        name="far-medium",
        load="far-medium",
        describes="Uploads of 5 MB a second over 16 connections, with the store far away",
        draw=_throughput("far-medium", "Store far away, 5 MB over 16 connections: uploads a second"),
    ),
    Plot(
        name="far-large",
        load="far-large",
        describes="Seconds for one photo of 256 MiB, with the store far away",
        draw=_large("far-large", "Store far away, one photo of 256 MiB"),
    ),
    Plot(name="start", load="start", describes="Idle memory, and the time to the first 201", draw=_start),
    Plot(
        name="reading",
        load="reading-many",
        describes="Lists of 50 out of 3,000,000 recipes a second",
        draw=_throughput("reading-many", "Lists of 50 out of 3,000,000 recipes a second", figure="list_per_second"),
    ),
    Plot(name="crowd", load="crowd", describes="Memory with 64 photos of 64 MiB at once", draw=_memory),
    Plot(
        name="growth",
        load="growth",
        describes="Time for each MiB and memory, for photos from 16 MiB to 2 GiB",
        draw=_growth,
    ),
)
