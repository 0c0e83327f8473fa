"""Determines whether an object belongs to the bucket that this service writes to.

`S3_BUCKET` may change while rows and pending deletions of the previous bucket remain. If such an object is missing from
the current bucket, it is not lost, and deleting its key there would not delete it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recipe_api.database.deletions import ObjectRef
from recipe_api.storage.addresses import object_url


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentBucket:
    """The bucket that this service writes to."""

    url: str
    """The address of the bucket itself, which differs from the public one behind a CDN."""
    base_urls: Sequence[str]
    """What precedes the keys in the public addresses that the service returns, with and without `PUBLIC_BASE_URL`."""

    def contains(self, ref: ObjectRef) -> bool | None:
        """Return whether an object belongs to this bucket, or None if that is unknown."""
        if ref.bucket is not None:
            return ref.bucket == self.url
        # Rows of older releases do not name a bucket. If their base address is another one, they may still belong to
        # this bucket, because PUBLIC_BASE_URL may have changed.
        locations = {object_url(ref.key, base_url=base_url) for base_url in self.base_urls}
        return True if ref.location in locations else None
