"""docs/settings.md is up to date, and has a row for every setting."""

import re

from recipe_api.dev.settings_page import PAGE, SOURCE_TREE, render
from recipe_api.settings import Settings

EXAMPLE = (SOURCE_TREE / ".env.example").read_text("utf-8")


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == render(EXAMPLE), "run python -m recipe_api.dev.settings_page"


def test_the_page_has_a_row_for_every_setting() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", render(EXAMPLE), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert {str(field.validation_alias) for field in Settings.model_fields.values() if field.validation_alias} <= named


def test_a_setting_without_a_default_is_marked_as_required() -> None:
    assert "| `S3_BUCKET` | required |" in render(EXAMPLE)
    assert "| `PORT` | 8000 |" in render(EXAMPLE)
