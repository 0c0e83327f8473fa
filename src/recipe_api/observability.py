"""Logs that a machine can read, and the id that ties a request's lines together.

One line a request, with its `X-Request-ID` (the router's where it is valid, else ours), method, path, status, bytes
and duration. On a terminal the same lines are written for people. Secrets never come near: settings keep them in
`SecretStr`, and no header or body is logged.
"""

import logging
import logging.config
import re
import secrets
import sys
from contextvars import ContextVar
from functools import cache, partial
from typing import TextIO

import structlog

_REQUEST_ID = re.compile(r"[A-Za-z0-9+/=-]{20,200}", re.ASCII)  # Heroku's rule for an id it passes on
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def request_id() -> str | None:
    """The id of the request that is being answered, if one is."""
    return _current.get()


def begin_request(presented: str | None) -> str:
    """Takes a request's id from its header where that is valid, makes one where not; ties the lines to it."""
    taken = presented if presented and _REQUEST_ID.fullmatch(presented) else secrets.token_hex(16)
    _current.set(taken)
    return taken


def _add_request_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """As structlog's `merge_contextvars` would, which looks at all variables there are, at ten times the CPU."""
    if (current := _current.get()) is not None:
        event["request_id"] = current
    return event


class _Lines(structlog.WriteLogger):
    """Writes our own lines. By way of the standard library's loggers, as others' come, a line takes twice the CPU."""

    def __init__(self, stream: TextIO, name: str | None = None) -> None:
        super().__init__(stream)
        self.name = name


def _renderers(*, for_people: bool) -> list[structlog.typing.Processor]:
    """What makes a line of an event, in the end."""
    if for_people:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    # Tracebacks without the frames' variables: among those are tokens, passwords and photos.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]


def configure_logging(level: str, *, human: bool | None = None, stream: TextIO | None = None) -> None:
    """Sends every logger's lines, ours and the libraries', to one stream in one form.

    Args:
        level: The least severe level that is shown.
        human: Lines for people instead of JSON; by default where the stream is a terminal.
        stream: Standard output, where nothing else is given.
    """
    stream = stream or sys.stdout
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = _renderers(for_people=stream.isatty() if human is None else human)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=cache(partial(_Lines, stream)),
        cache_logger_on_first_use=False,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"lines": formatter},
            "handlers": {"stream": {"class": "logging.StreamHandler", "stream": stream, "formatter": "lines"}},
            "root": {"handlers": ["stream"], "level": level.upper()},
            "loggers": {
                # These say at their lower levels what we say ourselves, or nothing that whoever runs this can use.
                "botocore": {"level": "WARNING"},
                "aiobotocore": {"level": "WARNING"},
                "sqlalchemy": {"level": "WARNING"},
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"level": "ERROR"},
            },
        }
    )
