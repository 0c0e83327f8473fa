"""The lines of the log, as they are written."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recipe_api.observability import configure_logging
from tests.support.traces import eventually


class Lines(logging.Handler):
    """Keeps every line in the form in which it goes to standard output."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A copy: the formatter changes the record, which others are to format too.
        self.text.append(self.format(logging.makeLogRecord(record.__dict__)))

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event, in order."""
        lines = [json.loads(line) for line in self.text]
        return [line for line in lines if line["event"] == event]

    def requests(self, count: int = 1) -> list[dict[str, Any]]:
        """The lines of so many requests; each is written just after its answer, so this waits for them."""
        assert eventually(lambda: len(self.events("request")) >= count)
        found = self.events("request")
        assert len(found) == count
        return found


@contextmanager
def lines_logged() -> Iterator[Lines]:
    """Collects what is logged within the block.

    Logging is the process's: it is configured anew, since the last service to start may have wanted less of it.
    """
    configure_logging("info", human=False)
    root = logging.getLogger()
    ours = next(h for h in root.handlers if type(h) is logging.StreamHandler)
    lines = Lines(ours.formatter)
    root.addHandler(lines)
    try:
        yield lines
    finally:
        root.removeHandler(lines)
