"""Scripts and style sheets as browsers get them."""

from pathlib import Path

import pytest

from recipe_api.web import static_files
from tests.support.service import Service

SCRIPT = """// What it does.

/** Returns soup. */
export const soup = () => "// no comment"; // served hot

/**
 * Returns salad.
 *
 * With oil / * vinegar.
 */
export function salad() {
  // Fresh.
  return `a /* leaf */`;
}
"""
STYLES = """/* Warm
   colours. */
:root {
  color: brown; /* like toast */
}
"""


def test_have_no_comment_lines() -> None:
    assert static_files.without_comments(SCRIPT).split("\n") == [
        "",
        'export const soup = () => "// no comment"; // served hot',
        "",
        "export function salad() {",
        "return `a /* leaf */`;",
        "}",
        "",
    ]
    assert static_files.without_comments(STYLES) == ":root {\ncolor: brown; /* like toast */\n}\n"


@pytest.mark.parametrize("file", sorted(static_files.FOLDER.glob("*.*s*")), ids=lambda file: file.name)
def test_contain_nothing_that_their_reduction_would_change(file: Path) -> None:
    """A template literal of several lines would lose its indentation."""
    assert not [line for line in file.read_text("utf-8").split("\n") if line.count("`") % 2]


def test_only_scripts_and_style_sheets_are_served(service: Service) -> None:
    with service.client() as client:
        assert client.get("/static/page.js").headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert client.get("/static/page.css").headers["Content-Type"] == "text/css; charset=utf-8"
        for name in ("index.html", "docs.html", "nothing.js"):
            assert client.get(f"/static/{name}").status_code == 404


def test_are_read_again_after_a_change(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(static_files, "FOLDER", tmp_path)
    with service.client() as client:
        texts = []
        for text in ("let soup;\n", "let salad;\n"):
            (tmp_path / "page.js").write_text(text)
            texts.append(client.get("/static/page.js").text)

    assert texts == ["let soup;\n", "let salad;\n"]
