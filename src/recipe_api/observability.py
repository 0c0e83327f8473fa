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
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=taken)
    return taken


def configure_logging(level: str, *, human: bool | None = None) -> None:
    """Sends every logger's lines, ours and the libraries', to standard output in one form.

    Args:
        level: The least severe level that is shown.
        human: Lines for people instead of JSON; by default where standard output is a terminal.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    for_people = sys.stdout.isatty() if human is None else human
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if for_people
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
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
            "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": sys.stdout, "formatter": "lines"}},
            "root": {"handlers": ["stdout"], "level": level.upper()},
            "loggers": {
                # These say at their lower levels what we say ourselves, or nothing that whoever runs this can use.
                "botocore": {"level": "WARNING"},
                "aiobotocore": {"level": "WARNING"},
                "python_multipart": {"level": "ERROR"},
                "sqlalchemy": {"level": "WARNING"},
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"level": "ERROR"},
            },
        }
    )
