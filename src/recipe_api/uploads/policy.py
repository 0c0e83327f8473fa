"""The settings of an upload: what is accepted, how large, how fast, and how it is sent."""

from collections.abc import Callable
from dataclasses import dataclass, field

from recipe_api.errors import PhotoMalformed
from recipe_api.multipart import FormRules
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.kinds import Kind
from recipe_api.photos.metadata import PhotoMetadata
from recipe_api.uploads.labels import check_label
from recipe_api.uploads.rendition_policy import RenditionPolicy


def cache_control(shared_cache_seconds: int) -> str:
    """Return the `Cache-Control` header of a photo and its renditions.

    They never change, so a browser may keep them for a year (RFC 8246). Shared caches, such as a CDN, may keep them for
    a shorter time, because they would continue to show them to others after they were deleted.
    """
    return f"public, max-age=31536000, s-maxage={shared_cache_seconds}, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPolicy:
    """The limits and destinations of uploads. Sizes are in bytes."""

    kinds: frozenset[Kind]
    photo_metadata: PhotoMetadata
    key_prefix: str
    object_url: Callable[[str], str]
    """Returns the public address of a key."""
    bucket: str
    """The address of the bucket itself, which may differ from the public one."""
    cache_control: str
    """The `Cache-Control` header of a photo."""
    max_photo_bytes: int
    max_label_bytes: int
    max_form_parts: int
    max_uploads: int
    """Maximum number of concurrent uploads in a process."""
    max_uploads_per_client: int
    """Maximum number of concurrent uploads from one address or with one token."""
    max_uploads_per_minute: int
    """Maximum number of uploads of one client per minute; 0 for no limit."""
    max_bytes_per_day: int
    """Maximum number of bytes of one client per day; 0 for no limit."""
    client_hash_key: bytes = field(repr=False)
    """The key for the hashes that identify clients in the database."""
    renditions: RenditionPolicy
    part_size: int
    parts_in_flight: int
    """Maximum number of parts of one upload that are sent concurrently, as far as the memory budget allows it."""

    def form_rules(self) -> FormRules:
        """Return the rules for the form: a text field `label` and a file field `photo`."""
        return FormRules(
            text_fields={"label": self.check_label},
            file_fields=frozenset({"photo"}),
            max_parts=self.max_form_parts,
            max_text_bytes=self.max_label_bytes,
            max_file_bytes=self.max_photo_bytes,
        )

    def check_dimensions(self, dimensions: Dimensions | None) -> None:
        """Check that a photo has an image, as far as this is known: with `keep`, its structure may be unknown.

        Raises:
            PhotoMalformed: It has none, or was cut off before it.
        """
        if dimensions is None and self.photo_metadata is PhotoMetadata.REMOVE:
            raise PhotoMalformed("The photo ends before its image, or has none. Send the whole file.", field="photo")

    def check_label(self, label: str) -> str:
        """Return the label if it is valid; see `labels.check_label`."""
        return check_label(label, max_bytes=self.max_label_bytes)
