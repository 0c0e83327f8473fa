"""The log lines as they are written."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recipe_api.observability import configure_logging
from tests.support.traces import eventually


class Lines(io.StringIO):
    """Keeps every line as it is written to standard output."""

    @property
    def text(self) -> list[str]:
        return self.getvalue().splitlines()

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event in order."""
        lines = [json.loads(line) for line in self.text]
        return [line for line in lines if line["event"] == event]

    def requests(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for the lines of this number of requests, since a line is written just after its response."""
        assert eventually(lambda: len(self.events("request")) >= count)
        found = self.events("request")
        assert len(found) == count
        return found


@contextmanager
def lines_logged() -> Iterator[Lines]:
    """Collect the lines that are logged within the block.

    Logging belongs to the process. It is configured again, since the last service may have set another level.
    """
    lines = Lines()
    configure_logging("info", human=False, stream=lines)
    try:
        yield lines
    finally:
        configure_logging("info", human=False)
