"""The interface for writing objects to S3, and the fallback from one implementation to the other.

`FastWriter` covers the usual case at a sixth of the CPU time. `SdkWriter` covers all cases. `Fallback` runs an
operation on the first and, if that raises `NeedsSdk`, on the second, whose result counts.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from recipe_api.storage.body import Body
from recipe_api.storage.protocol import Attributes, Part, Upload
from recipe_api.storage.retries import Effect

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What all objects that a writer writes have in common."""

    bucket: str
    checksums: bool = True
    """Whether the parts of a multipart upload have a CRC-32."""
    conditional: bool = True
    """Whether an object is written only if its key does not exist."""
    acl: str | None = None
    """The canned ACL of each object."""
    private_prefix: str | None = None
    """The prefix of private objects, which get no ACL."""

    def acl_of(self, key: str) -> str | None:
        """Return the canned ACL of one object."""
        is_private = self.private_prefix is not None and key.startswith(self.private_prefix)
        return None if is_private else self.acl


class NeedsSdk(Exception):
    """The response is neither a success nor a server error; the SDK must perform the operation."""


class UnreadableResponse(NeedsSdk):
    """The response is a success but lacks what it should contain; the store may have performed the operation."""


class S3Writer(Protocol):
    """The operations that write an object, each a single attempt.

    Entity tags are returned as S3 sends them, in quotes. A `checksum` is the body's CRC-32 in base64.
    """

    async def put(self, key: str, body: Body, attributes: Attributes, *, checksum: str | None) -> str:
        """Write a whole object and return its entity tag."""
        ...

    async def create_upload(self, key: str, attributes: Attributes) -> str:
        """Begin a multipart upload and return its ID."""
        ...

    async def put_part(self, upload: Upload, number: int, body: Body, *, checksum: str | None) -> str:
        """Send a part and return its entity tag."""
        ...

    async def complete_upload(self, upload: Upload, parts: Sequence[Part]) -> str:
        """Complete the object from its parts and return its entity tag."""
        ...


class Fallback:
    """Runs each operation on one writer and, if that cannot settle it, on another.

    Args:
        sdk: Settles every operation.
        fast: Runs first; None if every operation needs the SDK.
    """

    def __init__(self, sdk: S3Writer, *, fast: S3Writer | None = None) -> None:
        self._sdk = sdk
        self._first = fast or sdk
        self.reason = ""
        """Why the last operation that fell back did so; empty if none has."""

    async def run(
        self, operation: Callable[[S3Writer], Awaitable[Result]], *, effect: Effect | None = None, **context: object
    ) -> Result:
        """Return the result of an operation.

        Args:
            operation: Calls one method of the writer that it gets.
            effect: Records whether the first writer may have changed something before the fallback.
            context: For the log.
        """
        try:
            return await operation(self._first)
        except NeedsSdk as needs_sdk:
            self.reason = str(needs_sdk)
            if effect is not None and isinstance(needs_sdk, UnreadableResponse):
                effect.is_possible = True
            _log.info("repeating the request through aioboto3", reason=self.reason, **context)
        return await operation(self._sdk)
