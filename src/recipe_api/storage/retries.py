"""Retries within a time limit: a call whose failure may pass is repeated, any other failure is raised at once.

Each attempt has its own timeout, for a socket that accepts bytes and never responds. The waits between attempts grow
and have jitter. Together they leave time for the row and for cleanup within the router's 30 s after a body's last byte.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from aiohttp import ClientConnectorError
from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ProxyConnectionError,
)

from recipe_api.storage.connection_pool import Unreachable
from recipe_api.storage.keys import without_secret

_RANDOM = random.SystemRandom()

_TRANSIENT_CODES = {
    # Those whose status is not 5xx in every store.
    *("SlowDown", "Throttling", "RequestTimeout", "OperationAborted"),
    # A conditional write met another one of the same key: our own, whose response was lost.
    "ConditionalRequestConflict",
}
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501  # what a store does not implement now, it will not implement in a moment

_REJECTED = {401, 403, 404}
"""Wrong keys, missing permissions, no such bucket. A 409 or 412 may be due to an earlier attempt that worked."""

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and for how long to retry."""

    waits_seconds: tuple[float, ...]
    """Before the second attempt, the third, and so on."""
    attempt_seconds: float | None
    """The timeout of one attempt; None if the call has its own."""
    total_seconds: float
    """No attempt starts later than this after the first."""
    jitter_seconds: float = 0.5
    """The most that is added to a wait at random, so that calls that failed together are not repeated together."""


STORE_POLICY = RetryPolicy(waits_seconds=(0.1, 0.2, 0.4), attempt_seconds=12, total_seconds=15)
"""For a call to the store. 12 s are enough for a part of 5 MiB at 450 kB/s."""


def is_transient(error: Exception) -> bool:
    """Return whether the same call may succeed in a moment."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= _SERVER_ERROR:
            return status != _NOT_IMPLEMENTED
        return error.response.get("Error", {}).get("Code") in _TRANSIENT_CODES
    return isinstance(error, ConnectionError | HTTPClientError | HttpError | OSError | TimeoutError)


class Attempts:
    """Counts the attempts of this process."""

    repeated = 0
    """The number of attempts that failed and were retried."""


async def retry(
    call: Callable[[], Awaitable[Result]],
    *,
    policy: RetryPolicy | None = None,
    should_retry: Callable[[Exception], bool] = is_transient,
) -> Result:
    """Return the result of the first attempt that succeeds.

    A library for this takes a tenth of the CPU time of a small upload when nothing fails.

    Args:
        call: Makes one attempt.
        policy: `STORE_POLICY` by default.
        should_retry: Whether to retry after a failure.

    Raises:
        Exception: What the last attempt raised.
    """
    policy = policy or STORE_POLICY
    clock = asyncio.get_running_loop().time
    latest = clock() + policy.total_seconds
    for wait in policy.waits_seconds:
        try:
            return await _attempt(call, policy)
        except Exception as error:
            pause = wait + _RANDOM.uniform(0, policy.jitter_seconds)
            if not should_retry(error) or clock() + pause > latest:
                raise
            Attempts.repeated += 1
            shown = without_secret(repr(error))
            _log.warning("object store request failed; retrying", error=shown, wait_seconds=round(pause, 2))
        await asyncio.sleep(pause)
    return await _attempt(call, policy)


async def _attempt(call: Callable[[], Awaitable[Result]], policy: RetryPolicy) -> Result:
    async with asyncio.timeout(policy.attempt_seconds):
        return await call()


class Effect:
    """Whether a call, over all its attempts, may have changed something in the store."""

    def __init__(self) -> None:
        self.is_possible = False

    async def of(self, attempt: Awaitable[Result]) -> Result:
        """Await one attempt."""
        try:
            return await attempt
        except BaseException as error:  # a timeout cancels it
            self.is_possible |= not _had_no_effect(error)
            raise


def _had_no_effect(error: BaseException) -> bool:
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _REJECTED
    if isinstance(error, EndpointConnectionError):  # also raised for a connection that breaks while sending
        return isinstance(error.kwargs.get("error"), ClientConnectorError)
    return isinstance(
        error,
        Unreachable | NoCredentialsError | CredentialRetrievalError | ConnectTimeoutError | ProxyConnectionError,
    )
