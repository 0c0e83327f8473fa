"""docs/clients.md shows the examples exactly as `scripts/clients` runs them."""

import re

from tests.clients.browser import PAGES
from tests.clients.catalogue import PROGRAMS
from tests.clients.workbench import EXAMPLES, ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
SHOWN = re.compile(r"\[(?P<file>[^]]+)\]\(clients/(?P=file)\):\n\n```\w+\n(?P<code>.*?)```\n", re.DOTALL)


def test_every_example_is_shown_as_it_runs() -> None:
    shown = {found["file"]: found["code"] for found in SHOWN.finditer(PAGE)}

    assert shown == {example.name: example.read_text("utf-8") for example in EXAMPLES.iterdir()}


def test_every_example_is_run() -> None:
    assert {client.example for client in (*PROGRAMS, *PAGES)} == {example.name for example in EXAMPLES.iterdir()}


def test_every_client_is_in_the_table() -> None:
    for client in (*PROGRAMS, *PAGES):
        assert f"| {client.name} " in PAGE
