"""From a form on the wire to an object and a row, or to neither.

The order is the guarantee. The photo's first bytes decide its kind before anything is written. Its parts travel while
the next are read. Only when the whole form has been seen and accepted does the object come into being, and only when
the object is there is its row written. What fails before that leaves nothing; a row that cannot be written takes its
object with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from recipe_api.database.models import Recipe
from recipe_api.database.repository import Page, Position, Recipes
from recipe_api.errors import FieldEmpty, FieldMissing, RecipeNotFound, UnsupportedPhoto
from recipe_api.kinds import HEAD_BYTES, Kind, sniff
from recipe_api.multipart import FormRules, WireFile, WireForm
from recipe_api.storage import keys
from recipe_api.storage.protocol import Attributes, ObjectStore
from recipe_api.storage.writer import object_writer
from recipe_api.undo import Undo
from recipe_api.uploads.labels import check_label
from recipe_api.uploads.names import content_disposition, original_name

CHUNK_BYTES = 1024 * 1024
"""The most that one read takes; uvicorn hands over some 64 KiB at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPolicy:
    """What is taken, how large, and how it travels."""

    kinds: frozenset[Kind]
    key_prefix: str
    location_of: Callable[[str], str]
    max_photo_bytes: int
    max_label_bytes: int
    max_form_parts: int
    part_size: int
    parts_in_flight: int

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


class Uploads:
    """What can be done with recipes. Every method may raise `StorageUnavailable` or `DatabaseUnavailable`."""

    def __init__(self, store: ObjectStore, recipes: Recipes, policy: UploadPolicy, undo: Undo) -> None:
        self._store = store
        self._recipes = recipes
        self._undo = undo
        self.policy = policy

    async def create(self, form: WireForm) -> Recipe:
        """Takes the form as it arrives; when this returns, object and row are there, whole and committed.

        Raises:
            RequestRefused: The form is not what it should be; nothing is left of it.
            ClientDisconnected: It ends too early; nothing is left of it.
        """
        photo = await form.file("photo")
        head = await photo.read_exactly(HEAD_BYTES)
        kind = self._kind_of(photo, head)
        recipe_id, created_at = uuid4(), keys.now()
        name = original_name(photo.filename or "", extension=kind.extension)
        key = keys.new_key(created_at, prefix=self.policy.key_prefix, extension=kind.extension)
        attributes = Attributes(
            content_type=kind.content_type,
            content_disposition=content_disposition(name, inline=kind.inline),
            metadata={"fieldname": "photo", "recipe": str(recipe_id)},
        )
        async with object_writer(
            self._store,
            key,
            attributes,
            undo=self._undo,
            part_size=self.policy.part_size,
            parts_in_flight=self.policy.parts_in_flight,
        ) as writer:
            await writer.write(head)
            while chunk := await photo.read(CHUNK_BYTES):
                await writer.write(chunk)
            await form.finish()
            label = form.text("label")
            written = await writer.commit()
        recipe = Recipe(
            id=recipe_id,
            label=label,
            key=key,
            location=self.policy.location_of(key),
            content_type=kind.content_type,
            size=written.size,
            etag=written.etag,
            original_name=name,
            created_at=created_at,
        )
        await self._record(recipe)
        return recipe

    async def get(self, recipe_id: UUID) -> Recipe:
        """One recipe; `RecipeNotFound` if there is none."""
        return await self._recipes.get(recipe_id)

    async def page(self, *, after: Position | None, limit: int) -> Page:
        """Recipes, newest first."""
        return await self._recipes.page(after=after, limit=limit)

    async def rename(self, recipe_id: UUID, label: str) -> Recipe:
        """Gives a recipe another label; `RecipeNotFound` if there is none."""
        return await self._recipes.rename(recipe_id, self.policy.check_label(label))

    async def delete(self, recipe_id: UUID) -> None:
        """Deletes the row, then the object: what a failure leaves is an orphan that the sweep finds, never a loss."""
        key = await self._recipes.remove(recipe_id)
        await self._undo.run(self._store.delete(key), what=f"deleting {key}")

    def _kind_of(self, photo: WireFile, head: bytes) -> Kind:
        if not head:
            if not photo.filename:  # what a browser sends for a file input that was left alone
                raise FieldMissing("The form has no file photo; choose one.", field="photo")
            raise FieldEmpty("The photo is empty.", field="photo")
        kind = sniff(head)
        if kind not in self.policy.kinds:
            names = ", ".join(sorted(kind.content_type for kind in self.policy.kinds))
            raise UnsupportedPhoto(f"The photo's own bytes are of no accepted kind; send one of {names}.", field="photo")
        return kind

    async def _record(self, recipe: Recipe) -> None:
        try:
            await self._recipes.add(recipe)
        except BaseException:
            await self._undo.run(self._unless_recorded(recipe), what=f"deleting {recipe.key}")
            raise

    async def _unless_recorded(self, recipe: Recipe) -> None:
        """Deletes an object whose row could not be written.

        A commit may have worked though its answer was lost: then the row is there, and its object stays. Where that
        cannot be learnt either, both are left to the sweep.
        """
        try:
            await self._recipes.get(recipe.id)
        except RecipeNotFound:
            await self._store.delete(recipe.key)
