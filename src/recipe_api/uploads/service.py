"""Turns an upload into an object and a row, or into neither.

The order of the steps is the guarantee. The photo's first bytes determine its type before anything is written. Parts
are sent while the next ones are read. The object is created only when the whole source has been read and accepted, and
the row is inserted only when the object exists. A failure before that leaves nothing behind. If the row cannot be
inserted, the object is deleted. If the result of the commit is unknown, the service looks for the row; if that fails
too, the sweep resolves it later.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from recipe_api.database.client_usage import Charge
from recipe_api.database.deletions import ObjectRef
from recipe_api.database.idempotency import Done, IdempotencyKeys
from recipe_api.database.models import RecipeRow
from recipe_api.database.recipe_writer import Finishing, RecipeWriter
from recipe_api.database.repository import Page, Position, Recipes
from recipe_api.errors import CommitInDoubt, DatabaseUnavailable, RecipeNotFound
from recipe_api.photos.kinds import HEAD_BYTES
from recipe_api.photos.metadata import stream_of
from recipe_api.read_ahead import ReadAhead
from recipe_api.storage.budget import BufferBudget, Lease
from recipe_api.storage.protocol import ObjectStore
from recipe_api.storage.writer import ObjectWriter
from recipe_api.undo import Undo
from recipe_api.uploads.admission import Admission, ClientContext
from recipe_api.uploads.deletions import Deletions
from recipe_api.uploads.draft import RecipeDraft
from recipe_api.uploads.idempotency import Attempt, Claims, UploadKey, attempt, replay
from recipe_api.uploads.policy import UploadPolicy
from recipe_api.uploads.rendition_policy import objects_of
from recipe_api.uploads.source import UploadSource
from recipe_api.uploads.usage import Uncounted, Usage

RESOLVE_SECONDS = 5
"""Minimum time to find out whether a row was committed, even if the deadline of the response has passed."""


@dataclass(frozen=True, slots=True)
class Created:
    """The result of an upload."""

    recipe: RecipeRow
    replayed: bool = False
    """Whether an earlier upload with the same idempotency key created the recipe."""


class Uploads:
    """The operations on recipes. Every method may raise `StorageUnavailable` or `DatabaseUnavailable`."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        recipes: Recipes,
        recipe_writer: RecipeWriter,
        idempotency_keys: IdempotencyKeys,
        deletions: Deletions,
        policy: UploadPolicy,
        budget: BufferBudget,
        undo: Undo,
    ) -> None:
        self._store = store
        self._recipes = recipes
        self._recipe_writer = recipe_writer
        self._keys = idempotency_keys
        self._deletions = deletions
        self._budget = budget
        self._undo = undo
        self.admission = Admission(policy.max_uploads, per_client=policy.max_uploads_per_client)
        self.usage = Usage(
            uploads_per_minute=policy.max_uploads_per_minute,
            bytes_per_day=policy.max_bytes_per_day,
            secret=policy.client_hash_key,
        )
        self.policy = policy
        self.form_rules = policy.form_rules()

    async def create(
        self, source: UploadSource, *, key: UploadKey | None = None, claims: Claims | None = None, client: ClientContext
    ) -> Created:
        """Store a photo while it is read from its source, and insert its row. Both are committed when this returns.

        Args:
            source: The photo and its label.
            key: Identifies the upload if it is sent again.
            claims: The table in which the key is claimed; by default, that of idempotency keys.
            client: Who sends the upload.

        Raises:
            RequestRefused: The upload is invalid; nothing of it is kept.
            QuotaExceeded: The upload exceeds a quota of this client; nothing of it was read.
            TooManyRequests: This client has too many uploads in progress; nothing of this one was read.
            ServiceFull: Too many uploads are in progress; nothing of this one was read.
            ClientDisconnected: The client closed the connection before its form was complete; nothing of it is kept.
        """
        count = self.usage.upload(client.account, size=source.size, arrival=client.arrival)
        with count, self.admission.slot(client):
            if key is None:
                return Created(await self._create(source, client, None, count))
            async with attempt(claims or self._keys, key, undo=self._undo) as begun:
                if isinstance(begun, Done):
                    recipe_id = await replay(source, begun)
                    return Created(await self._recipes.get(recipe_id), replayed=True)  # deleted meanwhile: 404
                return Created(await self._create(source, client, begun, count))

    def slot(self, client: ClientContext) -> AbstractContextManager[None]:
        """Count a request like an upload in progress, for as long as the block lasts.

        Raises:
            TooManyRequests: This client already has the maximum number in progress.
            ServiceFull: Too many uploads are in progress.
        """
        return self.admission.slot(client)

    def lease(
        self, client: ClientContext, at_most: int | None, *, read_ahead: ReadAhead | None, turn: int | None = None
    ) -> Lease:
        """Return a lease of upload memory, which counts towards the share of its client; see `BufferBudget.lease`."""
        return self._budget.lease(
            at_most=at_most,
            read_ahead=read_ahead,
            clients=client.identities if self.policy.max_uploads_per_client < self.policy.max_uploads else (),
            arrival=client.arrival,
            turn=turn,
        )

    async def get(self, recipe_id: UUID) -> RecipeRow:
        """Return a recipe.

        Raises:
            RecipeNotFound: No recipe has this id.
        """
        return await self._recipes.get(recipe_id)

    async def page(self, *, after: Position | None, limit: int) -> Page:
        """Return up to `limit` recipes that follow a position, newest first."""
        return await self._recipes.page(after=after, limit=limit)

    async def rename(self, recipe_id: UUID, label: str) -> RecipeRow:
        """Change the label of a recipe.

        Raises:
            RequestRefused: The label is invalid.
            RecipeNotFound: No recipe has this id.
        """
        return await self._recipes.rename(recipe_id, self.policy.check_label(label))

    async def delete(self, recipe_id: UUID) -> None:
        """Delete a recipe: its row now, and its object now or as soon as the store is available again.

        Raises:
            RecipeNotFound: No recipe has this id.
            DatabaseUnavailable: Either nothing was deleted, or the row was, and the object will be.
        """
        await self._undo.run(self._deletions.delete_now(await self._remove(recipe_id)), what=f"deleting {recipe_id}")

    async def idle(self) -> None:
        """Wait until no upload is in progress."""
        await self.admission.idle()

    async def _remove(self, recipe_id: UUID) -> Sequence[ObjectRef]:
        try:
            return await self._recipes.remove(recipe_id, objects_of=self._objects_of)
        except RecipeNotFound:
            raise
        except BaseException:
            self._deletions.retry_soon()  # the deletion may have been committed
            raise

    def _objects_of(self, recipe: RecipeRow) -> Sequence[ObjectRef]:
        sizes = self.policy.renditions.sizes if self.policy.renditions.are_made_here else ()
        return objects_of(recipe, sizes=sizes)

    async def _create(
        self, source: UploadSource, client: ClientContext, begun: Attempt | None, count: Uncounted
    ) -> RecipeRow:
        photo = await source.photo()
        head = await photo.peek(HEAD_BYTES)
        draft = RecipeDraft.of_photo(photo.filename or "", head, policy=self.policy)
        async with self._writer(draft, source, client) as writer:
            with stream_of(draft.kind, self.policy.photo_metadata) as stream:
                while chunk := await photo.read_view():
                    if begun:
                        begun.update(chunk)
                    for piece in stream.feed(chunk):
                        await writer.write(piece, until=source.deadline)
                for piece in stream.close():
                    await writer.write(piece, until=source.deadline)
                self.policy.check_dimensions(stream.dimensions)
            ending = await source.finish()
            written = await writer.commit(until=ending.deadline)
        recipe = draft.complete(ending.label, written, dimensions=stream.dimensions, policy=self.policy)
        finished = begun.finished(ending.label) if begun else None
        await self._insert(recipe, finished, count.charge(), deadline=ending.deadline)
        return recipe

    def _writer(self, draft: RecipeDraft, source: UploadSource, client: ClientContext) -> ObjectWriter:
        return ObjectWriter(
            self._store,
            draft.key,
            draft.attributes(cache_control=self.policy.cache_control),
            lease=self.lease(client, source.size, read_ahead=source.read_ahead),
            undo=self._undo,
            part_size=self.policy.part_size,
            parts_in_flight=self.policy.parts_in_flight,
        )

    async def _insert(
        self, recipe: RecipeRow, finished: Finishing | None, charge: Charge | None, *, deadline: float
    ) -> None:
        """Insert the row of a stored object. If that fails, delete the object."""
        try:
            await self._recipe_writer.add(recipe, finished, charge, until=deadline)
        except CommitInDoubt as error:
            resolution = self._resolve_commit(recipe, keep=True)
            wait = max(RESOLVE_SECONDS, deadline - asyncio.get_running_loop().time())
            if not await self._undo.run(resolution, what=f"looking for {recipe.key}", wait_seconds=wait):
                raise DatabaseUnavailable("The database did not respond in time. Try again in a moment.") from error
        except Exception:  # any other failure occurs before the commit, so the row does not exist
            await self._undo.run(self._store.delete(recipe.key), what=f"deleting {recipe.key}")
            raise
        except BaseException:  # most likely a cancellation, which may have interrupted the commit
            # With an idempotency key, the client can send the upload again and get the recipe that was committed.
            resolution = self._resolve_commit(recipe, keep=finished is not None)
            await self._undo.run(resolution, what=f"deleting {recipe.key}")
            raise

    async def _resolve_commit(self, recipe: RecipeRow, *, keep: bool) -> bool:
        """Find out whether a row was committed, and delete its object if not. Return whether the recipe exists now.

        If that cannot be found out, object and row stay as they are, and the sweep resolves it.

        Args:
            recipe: The recipe whose commit is in doubt.
            keep: Whether a committed recipe is kept. Otherwise it is deleted.
        """
        await self._recipe_writer.settle()
        is_committed = await self._recipes.is_committed(recipe)
        if not is_committed:
            await self._store.delete(recipe.key)
        elif not keep:
            await self._deletions.delete_now(await self._remove(recipe.id))
        return is_committed and keep
