"""From a form on the wire to an object and a row, or to neither.

The order is the guarantee. The photo's first bytes decide its kind before anything is written. Its parts travel while
the next are read. Only when the whole form has been seen and accepted does the object come into being, and only when
the object is there is its row written. What fails before that leaves nothing; a row that cannot be written takes its
object with it; a row whose commit is in doubt is asked after, and where nobody can tell, the sweep will.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from recipe_api.database.idempotency import Done, Finished, IdempotencyKeys
from recipe_api.database.models import Recipe, RecipeBase
from recipe_api.database.records import Records
from recipe_api.database.repository import Page, Position, Recipes
from recipe_api.errors import CommitInDoubt, DatabaseUnavailable
from recipe_api.kinds import HEAD_BYTES
from recipe_api.multipart import WireForm
from recipe_api.storage.budget import BufferBudget
from recipe_api.storage.protocol import ObjectStore
from recipe_api.storage.writer import ObjectWriter
from recipe_api.undo import Undo
from recipe_api.uploads.admission import Admission
from recipe_api.uploads.draft import Draft
from recipe_api.uploads.idempotency import Attempt, UploadKey, attempt, replay
from recipe_api.uploads.policy import UploadPolicy

ANSWER_SECONDS = 20
"""From when the last byte of a form may have been sent to its answer, whether it has been read by then or still waits
for room. Heroku's router waits 30, and the undoing of a failure takes a few."""
LOOK_SECONDS = 5
"""How long an answer waits beyond that to learn whether a row is there whose commit was in doubt."""


@dataclass(frozen=True, slots=True)
class Created:
    """What an upload came to."""

    recipe: RecipeBase
    replayed: bool = False
    """Whether an earlier upload with the same idempotency key made it."""


class Uploads:
    """What can be done with recipes. Every method may raise `StorageUnavailable` or `DatabaseUnavailable`."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        recipes: Recipes,
        records: Records,
        idempotency_keys: IdempotencyKeys,
        policy: UploadPolicy,
        budget: BufferBudget,
        undo: Undo,
    ) -> None:
        self._store = store
        self._recipes = recipes
        self._records = records
        self._keys = idempotency_keys
        self._budget = budget
        self._undo = undo
        self._admission = Admission(policy.max_uploads)
        self.policy = policy
        self.form_rules = policy.form_rules()

    async def create(self, form: WireForm, *, key: UploadKey | None = None) -> Created:
        """Takes the form as it arrives; when this returns, object and row are there, whole and committed.

        Raises:
            RequestRefused: The form is not what it should be; nothing is left of it.
            ServiceFull: Too many uploads are under way; nothing of the form was read.
            ClientDisconnected: It ends too early; nothing is left of it.
        """
        with self._admission:
            if key is None:
                return Created(await self._create(form, None))
            async with attempt(self._keys, key, undo=self._undo) as begun:
                if isinstance(begun, Done):
                    recipe = await replay(form, begun)
                    return Created(await self._recipes.get(recipe.id), replayed=True)  # deleted meanwhile: 404
                return Created(await self._create(form, begun))

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

    async def idle(self) -> None:
        """Returns when no upload is under way."""
        await self._admission.idle()

    async def _create(self, form: WireForm, begun: Attempt | None) -> RecipeBase:
        photo = await form.file("photo")
        head = await photo.read_exactly(HEAD_BYTES)
        draft = Draft.of(photo.filename or "", head, policy=self.policy)
        async with self._writer(draft, form) as writer:
            chunk = memoryview(head)
            while chunk:
                if begun:
                    begun.fingerprint.update(chunk)
                await writer.write(chunk, until=_due(form))
                chunk = await photo.read_view()
            deadline = await form.finish() + ANSWER_SECONDS
            label = form.text("label")
            written = await writer.commit(until=deadline)
        recipe = draft.recipe(label, written, location=self.policy.location_of(draft.key))
        await self._record(recipe, begun.finished(label) if begun else None, deadline=deadline)
        return recipe

    def _writer(self, draft: Draft, form: WireForm) -> ObjectWriter:
        return ObjectWriter(
            self._store,
            draft.key,
            draft.attributes(),
            lease=self._budget.lease(at_most=form.announced, window=form.window),
            undo=self._undo,
            part_size=self.policy.part_size,
            parts_in_flight=self.policy.parts_in_flight,
        )

    async def _record(self, recipe: RecipeBase, finished: Finished | None, *, deadline: float) -> None:
        """Writes the row of an object that is there; if that cannot be, the object goes."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._records.add(recipe, finished)
        except (CommitInDoubt, TimeoutError) as error:  # which may have come in the middle of the commit
            look = self._delete_unless_committed(recipe)
            patience = max(LOOK_SECONDS, deadline - asyncio.get_running_loop().time())
            if not await self._undo.run(look, what=f"looking for {recipe.key}", patience=patience):
                raise DatabaseUnavailable("The database does not answer in time; try again in a moment.") from error
        except Exception:  # whatever else fails, fails before the commit: the row is not there
            await self._undo.run(self._store.delete(recipe.key), what=f"deleting {recipe.key}")
            raise
        except BaseException:  # a cancellation, most likely, that may have come in the middle of the commit
            # Asked again with its idempotency key, an upload that was committed is answered with what is there.
            undoing = self._delete_unless_committed(recipe) if finished else self._withdraw(recipe)
            await self._undo.run(undoing, what=f"deleting {recipe.key}")
            raise

    async def _delete_unless_committed(self, recipe: RecipeBase) -> bool:
        """Whether the row is there; where nobody can tell, the object stays, and the sweep will find out."""
        await self._records.settled()
        if await self._recipes.is_committed(recipe):
            return True
        await self._store.delete(recipe.key)
        return False

    async def _withdraw(self, recipe: RecipeBase) -> None:
        """Deletes what is there of an upload that is told it failed; where nobody can tell, both stay."""
        await self._records.settled()
        if await self._recipes.is_committed(recipe):
            await self._recipes.remove(recipe.id)
        await self._store.delete(recipe.key)


def _due(form: WireForm) -> float | None:
    """When the answer is due, in the loop's time; None while the client is still sending."""
    return None if form.sent_at is None else form.sent_at + ANSWER_SECONDS
