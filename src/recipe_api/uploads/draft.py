"""What is known of a recipe from its photo's first bytes: kind, key, name, and whether it is taken at all."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from recipe_api.database.models import RecipeBase
from recipe_api.errors import FieldEmpty, FieldMissing, UnsupportedPhoto
from recipe_api.kinds import Kind, sniff
from recipe_api.storage import keys
from recipe_api.storage.protocol import Attributes
from recipe_api.storage.writer import Written
from recipe_api.uploads.names import content_disposition, original_name
from recipe_api.uploads.policy import UploadPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A recipe but for what the rest of the form and the store will tell."""

    id: UUID
    created_at: datetime
    kind: Kind
    name: str
    key: str

    @classmethod
    def of(cls, filename: str, head: bytes, *, policy: UploadPolicy) -> "Draft":
        """The draft of a photo of this name that begins with `head`.

        Raises:
            FieldMissing: No file was chosen.
            FieldEmpty: The file is empty.
            UnsupportedPhoto: It is of no accepted kind.
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

    def attributes(self) -> Attributes:
        """What is stored with the object."""
        return Attributes(
            content_type=self.kind.content_type,
            content_disposition=content_disposition(self.name, inline=self.kind.inline),
            metadata={"fieldname": "photo", "recipe": str(self.id)},
        )

    def recipe(self, label: str, written: Written, *, location: str) -> RecipeBase:
        """The recipe, whole."""
        return RecipeBase(
            id=self.id,
            label=label,
            key=self.key,
            location=location,
            content_type=self.kind.content_type,
            size=written.size,
            etag=written.etag,
            original_name=self.name,
            created_at=self.created_at,
        )


def _accepted_kind(filename: str, head: bytes, *, policy: UploadPolicy) -> Kind:
    if not head:
        if not filename:  # what a browser sends for a file input that was left alone
            raise FieldMissing("The form has no file photo; choose one.", field="photo")
        raise FieldEmpty("The photo is empty.", field="photo")
    kind = sniff(head)
    if kind not in policy.kinds:
        names = ", ".join(sorted(kind.content_type for kind in policy.kinds))
        raise UnsupportedPhoto(f"The photo's own bytes are of no accepted kind; send one of {names}.", field="photo")
    return kind
