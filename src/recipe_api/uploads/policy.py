"""What is taken, how large, how fast, and how it travels: the settings of an upload in the words of its domain."""

from collections.abc import Callable
from dataclasses import dataclass

from recipe_api.kinds import Kind
from recipe_api.multipart import FormRules
from recipe_api.uploads.labels import check_label


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPolicy:
    """Sizes are in bytes."""

    kinds: frozenset[Kind]
    key_prefix: str
    location_of: Callable[[str], str]
    """The public address of a key."""
    max_photo_bytes: int
    max_label_bytes: int
    max_form_parts: int
    max_uploads: int
    """Uploads that one process takes on at once."""
    part_size: int
    parts_in_flight: int
    """Parts of one upload that travel at once."""

    def form_rules(self) -> FormRules:
        """The form of an upload: a text `label` and a file `photo`."""
        return FormRules(
            texts={"label": self.check_label},
            files=frozenset({"photo"}),
            max_parts=self.max_form_parts,
            max_text_bytes=self.max_label_bytes,
            max_file_bytes=self.max_photo_bytes,
        )

    def check_label(self, label: str) -> str:
        """The label if it is one; see `labels.check_label`."""
        return check_label(label, max_bytes=self.max_label_bytes)
