"""The interface for reading and deleting objects in S3.

`SignedRequests` covers the usual cases, and `SdkObjects` covers all cases.
"""

from typing import Protocol


class Download(Protocol):
    """The bytes of an object, as they arrive."""

    async def read(self) -> bytes:
        """Return the next bytes, at most 512 KiB; empty at the end. Raise if the object ends early."""
        ...

    async def aclose(self) -> None:
        """Stop reading."""
        ...


class S3Objects(Protocol):
    """The operations on an object that exists, each a single attempt."""

    async def get(self, key: str) -> Download:
        """Begin to read an object. The caller must close the result."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object."""
        ...
