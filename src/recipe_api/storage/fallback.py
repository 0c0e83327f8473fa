"""Combines two implementations of an S3 interface: a fast one for the usual cases, and the SDK for all cases.

`Fallback` runs an operation on the first and, if that raises `NeedsSdk`, on the second, whose result counts.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from recipe_api.storage.retries import Effect

Implementation = TypeVar("Implementation")
Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


class NeedsSdk(Exception):
    """The response is neither a success nor a server error; the SDK must perform the operation."""


class UnreadableResponse(NeedsSdk):
    """The response is a success but lacks what it should contain; the store may have performed the operation."""


class Fallback(Generic[Implementation]):
    """Runs each operation on one implementation and, if that cannot complete it, on another.

    Args:
        sdk: Can complete every operation.
        fast: Runs first; None if every operation needs the SDK.
    """

    def __init__(self, sdk: Implementation, *, fast: Implementation | None = None) -> None:
        self._sdk = sdk
        self._first = fast or sdk
        self.reason = ""
        """Why the last operation that fell back did so; empty if none has."""
        self.count = 0
        """The number of operations that fell back."""

    async def run(
        self,
        operation: Callable[[Implementation], Awaitable[Result]],
        *,
        effect: Effect | None = None,
        **context: object,
    ) -> Result:
        """Return the result of an operation.

        Args:
            operation: Calls one method of the implementation that is passed to it.
            effect: Records whether the first implementation may have changed something before the fallback.
            context: For the log.
        """
        try:
            return await operation(self._first)
        except NeedsSdk as needs_sdk:
            self.reason, self.count = str(needs_sdk), self.count + 1
            if effect is not None and isinstance(needs_sdk, UnreadableResponse):
                effect.is_possible = True
            _log.info("repeating the request through aioboto3", reason=self.reason, **context)
        return await operation(self._sdk)
