"""Makes the renditions of one photo: reads it from the store, has a child process decode it, and stores the results.

A rendition depends only on its photo, which never changes. So any process can make it again at any time, and nothing is
lost if an attempt fails. The order of the steps ensures that nothing is left behind by a crash: the attempt is counted
before the photo is decoded, the objects are written before the row mentions them, and if the recipe was deleted in the
meantime, the objects are deleted again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from enum import StrEnum
from uuid import UUID, uuid4

import structlog

from recipe_api.database.models import RecipeRow
from recipe_api.database.renderings import Claim, Renderings
from recipe_api.database.repository import Recipes
from recipe_api.errors import StorageUnavailable
from recipe_api.photos.renditions.process import Job, Limits, PhotoUnrenderable, Rendered, RendererFailed, render
from recipe_api.photos.renditions.slot import Slot
from recipe_api.undo import Undo
from recipe_api.uploads.rendition_objects import RenditionObjects
from recipe_api.uploads.rendition_policy import RenditionPolicy

ATTEMPT_SECONDS = 90
"""How long an attempt may take, including reading the photo and storing the renditions; less than a claim lasts."""

_log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """The outcome of an attempt to render a photo."""

    DONE = "done"
    """All renditions of the photo exist."""
    BUSY = "busy"
    """Another process is rendering the photo."""
    FAILED = "failed"
    """This attempt failed. Another one may succeed."""
    GIVEN_UP = "given up"
    """The photo cannot be rendered."""


class Renderer:
    """Makes the renditions of photos. Every method may raise `DatabaseUnavailable`.

    Args:
        recipes: The table of recipes.
        renderings: The table of attempts.
        objects: The bucket's photos and renditions.
        policy: The renditions that are configured.
        slot: Held while a photo is rendered, so that this machine renders one photo at a time.
        limits: The limits of the child process that decodes it.
        undo: Runs cleanup to completion.
    """

    def __init__(
        self,
        *,
        recipes: Recipes,
        renderings: Renderings,
        objects: RenditionObjects,
        policy: RenditionPolicy,
        slot: Slot,
        limits: Limits,
        undo: Undo,
    ) -> None:
        self._recipes = recipes
        self._renderings = renderings
        self._objects = objects
        self.policy = policy
        self._slot = slot
        self._limits = limits
        self._undo = undo

    async def render(self, recipe_id: UUID) -> Outcome:
        """Make the missing renditions of a photo.

        Raises:
            RecipeNotFound: No recipe has this id.
            StorageUnavailable: The photo could not be read, or a rendition could not be written.
        """
        try:
            async with self._slot.taken() as lock:
                recipe = await self._recipes.get(recipe_id)
                sizes = self.policy.missing(recipe)
                if not sizes:
                    return Outcome.DONE
                if not self._objects.may_contain(recipe):
                    return Outcome.GIVEN_UP
                return await self._attempt(recipe, sizes, lock=lock)
        except OSError as error:  # of the lock; the others are translated
            _log.warning("renderer cannot be started", recipe=str(recipe_id), error=str(error))
            return Outcome.FAILED

    async def has_given_up(self, recipe_id: UUID) -> bool:
        """Return whether a photo failed too often."""
        return await self._renderings.has_given_up(recipe_id)

    async def allow_retry(self, recipe_id: UUID) -> None:
        """Allow new attempts at a photo that was given up."""
        await self._renderings.allow_retry(recipe_id)

    async def _attempt(self, recipe: RecipeRow, sizes: Sequence[int], *, lock: int) -> Outcome:
        """Claim a photo and render it. The claim has ended when this returns or raises."""
        holder = uuid4()
        try:
            claim = await self._renderings.claim(recipe.id, holder)
            if claim is not Claim.HELD:
                return Outcome.BUSY if claim is Claim.BUSY else Outcome.GIVEN_UP
            async with asyncio.timeout(ATTEMPT_SECONDS), aclosing(self._objects.read(recipe)) as photo:
                job = Job(content_type=recipe.content_type, sizes=tuple(sizes))
                rendered = await render(photo, job, limits=self._limits, lock=lock)
                await self._keep(recipe, rendered)
        except PhotoUnrenderable as reason:
            _log.warning("photo cannot be rendered", recipe=str(recipe.id), key=recipe.key, reason=str(reason))
            await self._renderings.give_up(recipe.id, holder)
            return Outcome.GIVEN_UP
        except RendererFailed as failure:
            _log.warning("renderer failed", recipe=str(recipe.id), key=recipe.key, reason=str(failure))
            await self._renderings.end(recipe.id, holder, counts=True)
            return Outcome.FAILED
        except TimeoutError as error:
            await self._release(recipe.id, holder)
            raise StorageUnavailable("The object store is too slow. Try again later.") from error
        except OSError as error:
            _log.warning("renderer cannot be started", recipe=str(recipe.id), error=str(error))
            await self._release(recipe.id, holder)
            return Outcome.FAILED
        except BaseException:  # the store, the database, or a process that is stopping
            await self._release(recipe.id, holder)
            raise
        return Outcome.DONE

    async def _release(self, recipe_id: UUID, holder: UUID) -> None:
        """End an attempt that failed for a reason other than the photo."""
        await self._undo.run(self._renderings.end(recipe_id, holder, counts=False), what=f"releasing {recipe_id}")

    async def _keep(self, recipe: RecipeRow, rendered: Rendered) -> None:
        """Store the renditions, and record them in the row."""
        for rendition in rendered.renditions:
            await self._objects.write(recipe, rendition.size, rendition.data)
        is_recorded = await self._renderings.record(
            recipe.id,
            sizes=[rendition.size for rendition in rendered.renditions],
            placeholder=rendered.placeholder,
            width=rendered.width,
            height=rendered.height,
        )
        if is_recorded:
            _log.info("renditions made", recipe=str(recipe.id), key=recipe.key)
        else:
            await self._undo.run(
                self._objects.delete(recipe, self.policy.sizes), what=f"deleting renditions of {recipe.key}"
            )
