"""A run as JSON: the measurements, the machine and the versions."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compare.figures import Measurement, Results

_DIGITS = 5  # significant digits; the spread is far larger than the rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All of a run."""

    machine: dict[str, str]
    versions: dict[str, str]
    load_average: float
    """Of the minute before."""
    minutes: float
    contestants: dict[str, str]
    """Titles by name."""
    loads: dict[str, str]
    """The same."""
    results: Results = field(default_factory=Results)


def write(record: Record, path: Path) -> None:
    """Save the record."""
    document = asdict(record)
    document["measurements"] = [asdict(each) for each in record.results.measurements]
    del document["results"]
    for each in document["measurements"]:
        each["figures"] = {name: float(f"{value:.{_DIGITS}g}") for name, value in each["figures"].items()}
    lines = [f'"{name}": {json.dumps(value)}' for name, value in document.items() if name != "measurements"]
    measurements = ",\n  ".join(json.dumps(each) for each in document["measurements"])
    path.write_text("{\n" + ",\n".join(lines) + f',\n"measurements": [\n  {measurements}\n]\n}}\n')


def read(path: Path) -> Record:
    """Load a record."""
    document = json.loads(path.read_text())
    measurements = [Measurement(**each) for each in document.pop("measurements")]
    return Record(**document, results=Results(measurements))
