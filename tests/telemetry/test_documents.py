"""docs/operations/telemetry.md lists the metrics as the code has them."""

import re
from pathlib import Path

from recipe_api.telemetry.metrics import ALL

PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "telemetry.md").read_text(encoding="utf-8")
_ROW = re.compile(
    r"^\| `(?P<name>[a-z_.]+)` \| (?P<kind>[a-z -]+) \| (?P<unit>\S+) \| (?P<attributes>[^|]+) \| [^|]+ \|$",
    re.MULTILINE,
)


def test_every_metric_is_listed_with_its_unit_and_attributes() -> None:
    listed = {
        row["name"]: (row["kind"], row["unit"], tuple(re.findall(r"`([^`]+)`", row["attributes"])))
        for row in _ROW.finditer(PAGE)
    }
    assert listed == {each.name: (each.kind, each.unit, each.attributes) for each in ALL}
