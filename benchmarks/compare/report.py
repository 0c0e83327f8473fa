"""The tables, in Markdown: the aims, the figures of each load, the machine."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from compare.aims import aims, growth
from compare.dyno import KINDS
from compare.figures import Results, Spread
from compare.plots import PLOTS
from compare.record import Record

BEGIN = "<!-- written by `python benchmarks/compare`: begin -->"
END = "<!-- written by `python benchmarks/compare`: end -->"

_ROWS = {
    "service": "**recipe_api**",
    "baseline": "recipe_api, the other release",
    "keep": "recipe_api, metadata kept",
    "express": "Express + multer-s3",
    "sharp": "Express + sharp, metadata removed",
    "naive": "`UploadFile`",
    "pillow": "`UploadFile` + Pillow, metadata removed",
    "discard": "*app that discards*",
    "store": "*straight to the store*",
    "curl": "*straight, by curl*",
    "import": "*import of recipe_api*",
    "sweep": "recipe_api",
}
_STREAM = {
    "per_second": "uploads/s",
    "median_ms": "median, ms",
    "p99_ms": "p99, ms",
    "cpu_ms": "CPU per upload, ms",
    "cpu_per_gib": "CPU per GiB, s",
    "peak_mib": "peak memory, MiB",
}
_LARGE = {
    "seconds": "time, s",
    "megabytes": "MB/s",
    "last_byte_ms": "last byte to response, ms",
    "cpu_per_gib": "CPU per GiB, s",
    "peak_mib": "peak memory, MiB",
}
_CROWD = {
    "seconds": "total time, s",
    "megabytes": "MB/s",
    "cpu_per_gib": "CPU per GiB, s",
    "idle_mib": "memory before, MiB",
    "peak_mib": "peak memory, MiB",
    "retries": "503, retried",
}

_START = {
    "first_201_seconds": "start to first 201, s",
    "idle_pss_mb": "PSS when idle, MB",
    "import_seconds": "import, s",
}
_READING = {
    "list_per_second": "lists of 50/s",
    "last_page_per_second": "last pages/s",
    "single_per_second": "single recipes/s",
    "list_median_ms": "list, ms",
    "last_page_median_ms": "last page, ms",
    "list_cpu_ms": "CPU per list, ms",
    "single_cpu_ms": "CPU per single, ms",
}
_SWEEP = {
    "seconds": "time, s",
    "cpu_seconds": "CPU time, s",
    "before_mb": "memory before, MB",
    "peak_mb": "peak memory, MB",
}
_TABLES = {
    "small": _STREAM,
    "medium": _STREAM,
    "large": _LARGE,
    "crowd": _CROWD,
    "far-small": _STREAM,
    "far-medium": _STREAM,
    "far-large": _LARGE,
    "start": _START,
    "reading-few": _READING,
    "reading-many": _READING,
    "sweep": _SWEEP,
}
"""The columns of each load. Growth and dyno have separate tables."""
_RELEASES = {
    "per_second": "uploads/s",
    "seconds": "time",
    "cpu_ms": "CPU per upload",
    "cpu_per_gib": "CPU per GiB",
    "peak_mib": "peak memory",
}


def report(record: Record) -> str:
    """Return the whole report."""
    results = record.results
    pieces = [
        _aims(results),
        *(_load(record, name, columns) for name, columns in _TABLES.items() if name in record.loads),
        _growth(results),
        _dyno(record),
        _releases(record),
        _store(results),
        _void(results),
        _machine(record),
    ]
    return "\n\n".join(piece for piece in pieces if piece)


def paste(page: Path, text: str) -> None:
    """Replace the text between the marks of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} lacks the marks {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _aims(results: Results) -> str:
    rows = [(aim.title, aim.wanted, aim.measured, "yes" if aim.met else "**no**") for aim in aims(results)]
    return _table(("goal", "target", "measured", "met"), rows) if rows else ""


def _load(record: Record, load: str, columns: dict[str, str]) -> str:
    results = record.results
    rows = []
    for name, title in _ROWS.items():
        found = [results.spread(load, name, figure) for figure in columns]
        if any(found):
            rows.append((title, *map(_cell, found)))
    return f"### {record.loads[load]}\n\n{_plots(load)}{_table(('', *columns.values()), rows)}" if rows else ""


def _growth(results: Results) -> str:
    rows = []
    for name in ("service", "express"):
        seconds, peaks = (dict(growth(results, name, figure)) for figure in ("seconds", "peak_mib"))
        for size, found in seconds.items():
            each = Spread(median=found.median / size * 1e3, low=found.low / size * 1e3, high=found.high / size * 1e3)
            rows.append((_ROWS[name], f"{size} MiB", _cell(found), _cell(each), _cell(peaks[size])))
    headings = ("", "photo", "time, s", "per MiB, ms", "peak memory, MiB")
    return f"### From 16 MiB to 2 GiB\n\n{_plots('growth')}{_table(headings, rows)}" if rows else ""


def _dyno(record: Record) -> str:
    figures = {
        name: found
        for each in record.results.measurements
        if (each.load, each.contestant) == ("dyno", "service")
        for name, found in each.figures.items()
    }
    if not figures:
        return ""
    rows = [
        (title, *(_number(figures[f"{kind}_{name}"]) for name in ("count", "median_ms", "p99_ms")))
        for kind, title in KINDS.items()
        if f"{kind}_count" in figures
    ]
    means = "control groups" if figures["enforced"] else "one core by `taskset`; its memory was not limited"
    text = (
        f"Limited by {means}. Failed: {figures['failed']:.0f}; killed: {figures['killed']:.0f}; asked to try again:"
        f" {figures['waits']:.0f}. PSS before {figures['idle_pss_mb']:.0f} MB, at its peak"
        f" {figures['peak_pss_mb']:.0f} MB."
    )
    table = _table(("request", "succeeded", "median, ms", "p99, ms"), rows)
    return f"### {record.loads['dyno']}\n\n{text}\n\n{table}"


def _releases(record: Record) -> str:
    """Return how this release compares with the other one: ratios, round by round."""
    rows: list[tuple[str, ...]] = []
    for load, title in record.loads.items():
        found = [record.results.ratio(load, ("service", figure), ("baseline", figure)) for figure in _RELEASES]
        if any(found):
            rows.append((title, *map(_cell, found)))
    headings = ("relative to the other release", *_RELEASES.values())
    return f"### Compared with {record.contestants['baseline']}\n\n{_table(headings, rows)}" if rows else ""


def _store(results: Results) -> str:
    """Return whether the store was the bottleneck."""
    rows = []
    for load, title in (("small", "50 kB, 32 connections"), ("medium", "5 MB, 8 connections"), ("large", "256 MiB")):
        limit = results.spread(load, "store", "megabytes")
        shares = [results.spread(load, name, "store_share") for name in ("service", "express", "naive")]
        if limit:
            rows.append((title, f"{_cell(limit)}", *(f"{share.median:.0%}" if share else "" for share in shares)))
    headings = ("load", "the store alone, MB/s", "its load, share of a core: recipe_api", "Express", "`UploadFile`")
    return f"### The store's own limit\n\n{_table(headings, rows)}" if rows else ""


def _void(results: Results) -> str:
    lines = [f"- {each.load}, {each.contestant}, round {each.round}: {each.void}" for each in results.void()]
    return "\n".join(["Void, and in no figure:", "", *lines]) if lines else ""


def _machine(record: Record) -> str:
    it = record.machine
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    crowd = f"{len({each.round for each in record.results.measurements})} rounds"
    return (
        f"Measured on {it['day']} at revision {it['revision']}, {crowd}, {record.minutes:.0f} minutes in all:"
        f" {it['cores']} cores of {it['processor']}, {it['memory']}, {it['system']}; load average of the minute before"
        f" {record.load_average:.1f}. {versions}."
    )


def _plots(load: str) -> str:
    return "".join(f"![{plot.describes}](benchmarks/{plot.name}.svg)\n\n" for plot in PLOTS if plot.load == load)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.low == spread.high:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.low)}-{_number(spread.high)})"


def _number(value: float) -> str:
    """Format a number with three significant digits."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
