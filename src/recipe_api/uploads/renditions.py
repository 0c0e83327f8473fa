"""Locates the requested rendition of a photo, and makes it first if it does not exist yet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from recipe_api.database.models import RecipeRow
from recipe_api.database.repository import Recipes
from recipe_api.errors import RenditionPending
from recipe_api.photos.kinds import SHOWN_BY_BROWSERS
from recipe_api.uploads.render_queue import RenderQueue
from recipe_api.uploads.renderer import Outcome
from recipe_api.uploads.rendition_policy import RenditionPolicy

WAIT_SECONDS = 8
"""How long a viewer waits for a rendition. Heroku's router gives up after 30 s."""
POLL_SECONDS = 0.5
"""How often to check whether another process has made a rendition."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a rendition can be fetched now."""

    address: str
    is_final: bool
    """Whether this is the final address, rather than that of a substitute until the rendition has been made."""


class Renditions:
    """The renditions of all photos, as viewers see them."""

    def __init__(self, recipes: Recipes, queue: RenderQueue, policy: RenditionPolicy) -> None:
        self._recipes = recipes
        self._queue = queue
        self._policy = policy

    @asynccontextmanager
    async def making(self) -> AsyncIterator[None]:
        """Make renditions until the block ends."""
        async with self._queue.running():
            yield

    def offer(self, recipe: RecipeRow) -> None:
        """Queue a new photo for rendering. If the queue is full, its renditions are made later on request."""
        if self._policy.missing(recipe):
            self._queue.offer(recipe.id)

    async def locate(self, recipe_id: UUID, size: int) -> Found:
        """Return the address of a rendition, or of a substitute.

        Args:
            recipe_id: The recipe.
            size: The longest side in pixels.

        Raises:
            RecipeNotFound: No recipe has this id.
            RenditionPending: The rendition is being made, and browsers cannot display the photo itself.
            DatabaseUnavailable: The recipe could not be read.
        """
        recipe = await self._recipes.get(recipe_id)
        if address := self._address(recipe, size):
            return Found(address, is_final=True)
        outcome = await self._render(recipe)
        recipe = await self._recipes.get(recipe_id)
        if address := self._address(recipe, size):
            return Found(address, is_final=True)
        if outcome in _IN_PROGRESS and recipe.content_type not in SHOWN_BY_BROWSERS:
            raise RenditionPending("This rendition is still being made. Try again in a moment.")
        return Found(recipe.location, is_final=False)

    def _address(self, recipe: RecipeRow, size: int) -> str | None:
        """Return the final address; None if the rendition is still to be made."""
        substitute = self._policy.substitute(recipe, size)
        if substitute is not None:
            return self._policy.address(recipe, substitute)
        return None if self._policy.missing(recipe) else recipe.location

    async def _render(self, recipe: RecipeRow) -> Outcome:
        """Render a photo, or wait until another process has. Return `BUSY` if that takes longer than `WAIT_SECONDS`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    outcome = await self._queue.render_now(recipe.id)
                    if outcome is not Outcome.BUSY:
                        return outcome
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            return Outcome.BUSY


_IN_PROGRESS = {Outcome.BUSY, Outcome.FAILED}
