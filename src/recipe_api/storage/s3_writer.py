"""The interface for writing objects to S3.

`FastWriter` covers the usual cases at a sixth of the CPU time. `SdkWriter` covers all cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from recipe_api.storage.body import Body
from recipe_api.storage.protocol import Attributes, Part, Upload


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
