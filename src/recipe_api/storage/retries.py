"""Trying again, within bounds: a call that failed in passing is made anew, a failure that will stay is not.

Each try has a bound of its own, for a socket that takes bytes and never answers; the waits between them grow and are
jittered. Together they leave room for the record and the undoing inside the router's 30 s after a body's last byte.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiohttp import ClientError as HttpError
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's name

WAITS_SECONDS = (0.1, 0.2, 0.4)
"""Before the second, the third and the last try."""
TRY_SECONDS = 12
"""One try: a part of 5 MiB at 450 kB/s."""
CALL_SECONDS = 15
"""No new try begins later than this after the first."""
JITTER_SECONDS = 0.5
"""The most that chance adds to a wait, so that what failed together does not come back together."""

_TRANSIENT_CODES = {
    # Those that are no 5xx everywhere.
    *("SlowDown", "Throttling", "RequestTimeout", "OperationAborted"),
    # A conditional write met another one of the same key: our own, whose answer was lost.
    "ConditionalRequestConflict",
}
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501  # a store that lacks something will lack it in a moment too

Answer = TypeVar("Answer")

_log = structlog.get_logger(__name__)


async def tried(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of the first try that succeeds; the failure of the last one if none does.

    A library for this takes a tenth of a small upload's CPU before anything has failed.
    """
    clock = asyncio.get_running_loop().time
    latest = clock() + CALL_SECONDS
    for wait in WAITS_SECONDS:
        try:
            return await _bounded(call)
        except Exception as error:
            pause = wait + random.uniform(0, JITTER_SECONDS)  # noqa: S311 - no secret
            if not is_transient(error) or clock() + pause > latest:
                raise
            _log.warning(
                "object store failed in passing; trying again", error=repr(error), wait_seconds=round(pause, 2)
            )
        await asyncio.sleep(pause)
    return await _bounded(call)


async def _bounded(call: Callable[[], Awaitable[Answer]]) -> Answer:
    async with asyncio.timeout(TRY_SECONDS):
        return await call()


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= _SERVER_ERROR:
            return status != _NOT_IMPLEMENTED
        return error.response.get("Error", {}).get("Code") in _TRANSIENT_CODES
    return isinstance(error, ConnectionError | HTTPClientError | HttpError | OSError | TimeoutError)
