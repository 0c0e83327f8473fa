"""Structured logs, and the request id that all lines of one request share.

Each request gets one line, with its `X-Request-ID`, method, path, status, sizes and duration. The id is that of the
router if it is valid, otherwise a new one. Lines are JSON, or on a terminal readable text. Secrets are never logged:
settings hold them as `SecretStr`, and headers and bodies are not logged.
"""

import json
import logging
import logging.config
import os
import re
import sys
import time
from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache, partial
from typing import TextIO

import structlog

_SECRET_ID = re.compile(r"(/(?:uploads|s3/+multipart)/+[^/]{4})[^/]+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9+/=-]{20,200}", re.ASCII)  # Heroku's rule for an id that it forwards
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


MIN_INTERVAL_SECONDS = 60


class RareWarning:
    """A warning that clients can cause at will. It is logged at most once a minute, with a count.

    Args:
        event: The message of the log event.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._times = 0
        self._quiet_until = 0.0

    def note(self, **fields: object) -> None:
        """Count the warning, and log it with these fields unless it was logged within the last minute."""
        self._times += 1
        if (now := time.monotonic()) < self._quiet_until:
            return
        structlog.get_logger(__name__).warning(self._event, times=self._times, **fields)
        self._times, self._quiet_until = 0, now + MIN_INTERVAL_SECONDS


def request_id() -> str | None:
    """Return the id of the current request, or None outside of a request."""
    return _current.get()


def without_secret(path: str) -> str:
    """Return a request's path with the secret id of a staged upload cut after four characters."""
    return _SECRET_ID.sub(r"\1…", path) if "/uploads/" in path or "/multipart/" in path else path


def begin_request(presented: str | None) -> str:
    """Set the id of the current request: the one in its header if valid, otherwise a new one. Return it."""
    chosen = presented if presented and _REQUEST_ID.fullmatch(presented) else os.urandom(16).hex()
    _current.set(chosen)
    return chosen


def _add_request_id(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the request id. structlog's `merge_contextvars` takes ten times the CPU, because it reads every variable."""
    if (current := _current.get()) is not None:
        event["request_id"] = current
    return event


_JSON = json.JSONEncoder(default=repr)


def _serialize(event: structlog.typing.EventDict, **_: object) -> str:
    """Return the event as JSON. `json.dumps` makes an encoder for each line."""
    return _JSON.encode(event)


class _Lines(structlog.WriteLogger):
    """Writes this package's own lines. Through the standard library's loggers a line would take twice the CPU."""

    def __init__(self, stream: TextIO, name: str | None = None) -> None:
        super().__init__(stream)
        self.name = name


def _renderers(*, for_people: bool) -> list[structlog.typing.Processor]:
    """Return the processors that format an event as a line."""
    if for_people:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    # Tracebacks exclude local variables, which may contain tokens, passwords and photos.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer(_serialize)]


@cache
def bound_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger that stays bound until logging is configured again.

    A logger from `structlog.get_logger` is bound again for each line, which takes 1% of a small upload's CPU time.
    """
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name).bind()
    return logger


def configure_logging(
    level: str,
    *,
    human: bool | None = None,
    stream: TextIO | None = None,
    processors: Sequence[structlog.typing.Processor] = (),
) -> None:
    """Send the log lines of this package and of all libraries to one stream, in one format.

    Args:
        level: The lowest level that is logged.
        human: Readable text instead of JSON; by default if the stream is a terminal.
        stream: By default standard output.
        processors: Additional processors of each event.
    """
    stream = stream or sys.stdout
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        *processors,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = _renderers(for_people=stream.isatty() if human is None else human)
    bound_logger.cache_clear()
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
                # Their lower levels repeat our own lines, or do not help an operator.
                "botocore": {"level": "WARNING"},
                "aiobotocore": {"level": "WARNING"},
                "aiobotocore.credentials": {"level": "ERROR"},
                # Its warning quotes invalid parts of OTEL_EXPORTER_OTLP_HEADERS, which may be a vendor's key.
                "opentelemetry.util.re": {"level": "ERROR"},
                "sqlalchemy": {"level": "WARNING"},
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"level": "ERROR"},
            },
        }
    )
