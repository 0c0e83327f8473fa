"""Makes missing renditions, photo by photo, from the newest to the oldest.

Renditions are missing if a photo was uploaded before their sizes were configured, or while the service's queue was
full. Rows are read in pages, so memory use is constant for any number of them. Several backfills can run at once,
alongside the service: a photo that another process is rendering is skipped.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from recipe_api.database.models import RecipeRow
from recipe_api.database.repository import Recipes, photo_of
from recipe_api.errors import RecipeNotFound, StorageUnavailable
from recipe_api.storage.protocol import Inventory
from recipe_api.uploads.current_bucket import CurrentBucket
from recipe_api.uploads.renderer import Outcome, Renderer

PAGE = 200
"""Rows per query."""
PATIENCE = 3
"""Number of consecutive store failures after which the store counts as unavailable. One may concern a single object."""


class Result(StrEnum):
    """The result for a photo that lacked renditions."""

    MADE = "made"
    BUSY = "busy"
    """Another process is rendering it."""
    FAILED = "failed"
    """Another attempt may succeed."""
    GIVEN_UP = "given up"
    """It cannot be rendered."""
    MISSING = "missing"
    """The bucket does not contain it."""


_RESULTS = {
    Outcome.DONE: Result.MADE,
    Outcome.BUSY: Result.BUSY,
    Outcome.FAILED: Result.FAILED,
    Outcome.GIVEN_UP: Result.GIVEN_UP,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A photo that lacked renditions, and the result."""

    recipe: RecipeRow
    result: Result


@dataclass(slots=True)
class Tally:
    """The counts of a backfill so far."""

    rows: int = 0
    complete: int = 0
    """Photos that lack no rendition, including those that have none because of their type."""
    other_bucket: int = 0
    """Photos in another bucket, which are left alone."""
    results: Counter[Result] = field(default_factory=Counter)


class Backfill:
    """One run. Its `tally` shows the progress.

    Args:
        recipes: The table of recipes.
        renderer: Makes the renditions of one photo.
        inventory: Looks up photos that could not be read.
        bucket: Identifies the photos that are in it.
    """

    def __init__(self, recipes: Recipes, renderer: Renderer, inventory: Inventory, bucket: CurrentBucket) -> None:
        self._recipes = recipes
        self._renderer = renderer
        self._inventory = inventory
        self._bucket = bucket
        self._failures = 0
        self.tally = Tally()

    async def run(self, *, since: datetime | None, retry_given_up: bool) -> AsyncGenerator[Attempt]:
        """Render all photos that lack renditions, and yield each afterwards.

        Args:
            since: Only photos that were uploaded then or later; None for all.
            retry_given_up: Also try photos that were given up earlier.

        Raises:
            StorageUnavailable, DatabaseUnavailable: The backfill cannot continue. What it has made is recorded.
        """
        async for recipe in self._newest_first(since):
            self.tally.rows += 1
            if not self._renderer.policy.missing(recipe):
                self.tally.complete += 1
            elif self._bucket.contains(photo_of(recipe)) is False:
                self.tally.other_bucket += 1
            elif (result := await self._rendered(recipe, retry_given_up=retry_given_up)) is not None:
                self.tally.results[result] += 1
                yield Attempt(recipe, result)

    async def _newest_first(self, since: datetime | None) -> AsyncIterator[RecipeRow]:
        after = None
        while True:
            page = await self._recipes.page(after=after, limit=PAGE)
            for recipe in page.recipes:
                if since is not None and recipe.created_at < since:
                    return
                yield recipe
            after = page.next
            if after is None:
                return

    async def _rendered(self, recipe: RecipeRow, *, retry_given_up: bool) -> Result | None:
        """Render a photo and return the result; None if it was deleted in the meantime."""
        try:
            if retry_given_up:
                await self._renderer.allow_retry(recipe.id)
            outcome = await self._renderer.render(recipe.id)
        except RecipeNotFound:
            return None
        except StorageUnavailable:
            if not await self._inventory.exists(recipe.key):
                return Result.MISSING
            self._failures += 1
            if self._failures == PATIENCE:
                raise
            return Result.FAILED
        self._failures = 0
        return _RESULTS[outcome]
