"""Writes docs/settings.md from `Settings` and `.env.example`: `python -m recipe_api.dev.settings_page`.

`.env.example` explains each variable; `Settings` says which are required. A test fails when the page is out of date.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipe_api.settings import Settings

SOURCE_TREE = Path(__file__).parents[3]
PAGE = SOURCE_TREE / "docs" / "settings.md"

_INTRODUCTION = """# Settings

All settings are environment variables. If one is missing or invalid, the service exits at startup with a one-line
message that names it. Other variables are ignored, with a warning if one is spelled almost like a setting. An empty
value counts as unset, unless its explanation gives it a meaning.

[.env.example](../.env.example) has the same explanations with example values, ready to copy. This page is generated
from it and from [settings.py](../src/recipe_api/settings.py) by `python -m recipe_api.dev.settings_page`.
"""
_SECTION = re.compile(r"^# --- (.+?) -+$", re.MULTILINE)
_VARIABLE = re.compile(r"^(?:# )?([A-Z][A-Z0-9_]*)=.*$", re.MULTILINE)
_NAME = re.compile(r"(?<![`\w])([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?![`\w])")
_LINK = re.compile(r"docs/(operations(?:/\w+)?\.md)")
_MARKUP = re.compile(r"[*|]")
_DEFAULT = re.compile(r"\s*Default: (.+?)\.?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One block of `.env.example`: variables, the text that explains them, and their default."""

    names: tuple[str, ...]
    text: str
    default: str

    def row(self) -> str:
        """Return the entry as a row of a Markdown table."""
        names = ", ".join(f"`{name}`" for name in self.names)
        return f"| {names} | {self.default} | {self.text} |"


def render(example: str) -> str:
    """Return the page.

    Args:
        example: The text of `.env.example`.
    """
    _, *parts = _SECTION.split(example)
    sections = [_section(title, body) for title, body in zip(parts[::2], parts[1::2], strict=True)]
    return "\n".join([_INTRODUCTION, *sections])


def _section(title: str, body: str) -> str:
    blocks = [block for block in body.strip().split("\n\n") if block.strip()]
    lines = [f"## {title}", ""]
    if not _VARIABLE.search(blocks[0]):
        lines += [_text(blocks.pop(0)), ""]
    lines += ["| name | default | meaning |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(entry.row() for entry in map(_entry, blocks)), ""])


def _entry(block: str) -> _Entry:
    names = tuple(_VARIABLE.findall(block))
    text = _text(_VARIABLE.sub("", block))
    found = _DEFAULT.search(text)
    required = set(names) & set(_required())
    default = "required" if required else found[1] if found else ""
    return _Entry(names=names, text=_DEFAULT.sub("", text), default=default)


def _text(block: str) -> str:
    """Return the comment of a block as one line of Markdown."""
    text = " ".join(line.removeprefix("#").strip() for line in block.splitlines()).strip()
    text = _MARKUP.sub(lambda found: f"\\{found[0]}", text)
    text = _LINK.sub(r"[\1](\1)", text)
    return _NAME.sub(r"`\1`", text)


def _required() -> Iterator[str]:
    return (str(field.validation_alias) for field in Settings.model_fields.values() if field.is_required())


if __name__ == "__main__":
    PAGE.write_text(render((SOURCE_TREE / ".env.example").read_text("utf-8")), "utf-8")
