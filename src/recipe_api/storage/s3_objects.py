"""The interface for reading and deleting objects in S3.

`SignedRequests` covers the usual cases with little CPU time. `SdkObjects` covers all cases.
"""

from typing import Protocol


class Download(Protocol):
    """The body of an object, read as it arrives."""

    async def read(self) -> bytes:
        """Return the next bytes, at most 512 KiB; empty at the end. Raise an exception if the body ends early."""
        ...

    async def aclose(self) -> None:
        """Stop reading."""
        ...


class S3Objects(Protocol):
    """The operations on an existing object and on the bucket, each a single attempt."""

    async def check_bucket(self) -> None:
        """Raise an exception unless the bucket exists and may be listed."""
        ...

    async def get(self, key: str) -> Download:
        """Start to read an object. The caller must close the result."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object."""
        ...
