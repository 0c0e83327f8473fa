"""Determines a photo's type, key and name from its first bytes and its file name, or rejects it."""

import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from recipe_api.database.models import RecipeRow
from recipe_api.errors import FieldEmpty, FieldMissing, UnsupportedFile
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.kinds import ANYTHING, Kind, sniff
from recipe_api.storage import keys
from recipe_api.storage.protocol import Attributes
from recipe_api.storage.writer import Written
from recipe_api.uploads.names import content_disposition, download_name, original_name
from recipe_api.uploads.policy import UploadPolicy

_BASE64 = re.compile(rb"[\s\"']*(?:data:[^,]{0,200},)?([A-Za-z0-9+/_-]{16,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeDraft:
    """A recipe without its label, and without what is known only when its photo has been stored."""

    id: UUID
    created_at: datetime
    kind: Kind
    name: str
    key: str

    @classmethod
    def of_photo(cls, filename: str, head: bytes, *, policy: UploadPolicy) -> "RecipeDraft":
        """Return a draft for a photo with this file name and these first bytes.

        Raises:
            FieldMissing: No file was chosen.
            FieldEmpty: The file is empty.
            UnsupportedFile: Its type is not accepted.
        """
        kind = _accepted_kind(filename, head, policy=policy)
        created_at = keys.now()
        return cls(
            id=uuid4(),
            created_at=created_at,
            kind=kind,
            name=original_name(filename, extension=kind.extension),
            key=keys.new_key(created_at, prefix=policy.key_prefix, extension=kind.extension),
        )

    def attributes(self, *, cache_control: str) -> Attributes:
        """Return the attributes of the stored object."""
        return Attributes(
            content_type=self.kind.content_type,
            content_disposition=content_disposition(download_name(self.name, self.kind), inline=self.kind.inline),
            cache_control=cache_control,
            metadata={"fieldname": "photo", "recipe": str(self.id)},
        )

    def complete(
        self, label: str, written: Written, *, dimensions: Dimensions | None, policy: UploadPolicy
    ) -> RecipeRow:
        """Return the complete recipe."""
        width, height = dimensions or (None, None)
        return RecipeRow(
            id=self.id,
            label=label,
            key=self.key,
            location=policy.object_url(self.key),
            content_type=self.kind.content_type,
            size=written.size,
            etag=written.etag,
            original_name=self.name,
            created_at=self.created_at,
            bucket=policy.bucket,
            width=width,
            height=height,
            photo_metadata=policy.photo_metadata.result,
        )


def _accepted_kind(filename: str, head: bytes, *, policy: UploadPolicy) -> Kind:
    if not head:
        if not filename:  # what a browser sends for a file input that was left empty
            raise FieldMissing("The form has no file photo; choose one.", field="photo")
        raise FieldEmpty("The photo is empty.", field="photo")
    kind = sniff(head)
    if kind not in policy.kinds:
        names = ", ".join(sorted(kind.content_type for kind in policy.kinds))
        raise UnsupportedFile(f"{_unsupported(kind, head)}; send one of {names}.", field="photo")
    return kind


def _unsupported(kind: Kind, head: bytes) -> str:
    if kind is not ANYTHING:
        return f"The photo is {kind.content_type}, which is not accepted"
    if text := _text_of_photo(head):
        return f"The photo was sent as {text} instead of its own bytes"
    return "The photo's first bytes match no accepted type"


def _text_of_photo(head: bytes) -> str | None:
    """Return how a photo was encoded as text, or None if these first bytes are not such text."""
    if re.match(rb"[\s\"']*data:", head, re.IGNORECASE):
        return "a data: URL"
    found = _BASE64.match(head)
    if found is None:
        return None
    text = found[1].translate(bytes.maketrans(b"-_", b"+/"))
    encodes_photo = sniff(binascii.a2b_base64(text[: len(text) // 4 * 4])) is not ANYTHING
    return "base64 text" if encodes_photo else None
