"""The queue of photos that this process will render.

A new photo is offered after its upload, and dropped if the queue is full. That does no harm: a request for a missing
rendition puts the photo at the head of the queue, and `recipe-api render` makes all missing ones. Photos are rendered
one at a time, and all viewers who wait for the same photo share one rendering.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from recipe_api import background
from recipe_api.errors import RecipeNotFound, Unavailable
from recipe_api.uploads.renderer import Outcome, Renderer

MAX_WAITING = 100
"""Photos in the queue: about a minute of work on a small dyno. A page of the gallery shows 24."""

_log = structlog.get_logger(__name__)


class RenderQueue:
    """A bounded queue of photos, and the task that renders them."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._waiting: OrderedDict[UUID, asyncio.Future[Outcome]] = OrderedDict()
        self._is_filled = asyncio.Event()
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """The number of photos in the queue, including the one that is being rendered."""
        return len(self._waiting)

    def offer(self, recipe_id: UUID) -> bool:
        """Append a photo unless the queue is full. Return whether the photo is in the queue."""
        return self._append(recipe_id) is not None

    async def render_now(self, recipe_id: UUID) -> Outcome:
        """Put a photo at the head of the queue and wait until it has been rendered.

        A photo that was given up does not wait for the others.

        Raises:
            DatabaseUnavailable: The attempts at this photo could not be read.
        """
        if recipe_id not in self._waiting and await self._renderer.has_given_up(recipe_id):
            return Outcome.GIVEN_UP
        rendering = self._append(recipe_id)
        if rendering is None:
            return Outcome.BUSY
        if recipe_id in self._waiting:
            self._waiting.move_to_end(recipe_id, last=False)
        return await asyncio.shield(rendering)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Render the photos in the queue until the block ends."""
        async with background.running(self._run(), name="renditions"):
            try:
                yield
            finally:
                self._is_closed = True  # a rendering that fails while it is cancelled raises its failure instead

    def _append(self, recipe_id: UUID) -> asyncio.Future[Outcome] | None:
        if recipe_id not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                return None
            self._waiting[recipe_id] = asyncio.get_running_loop().create_future()
            self._is_filled.set()
        return self._waiting[recipe_id]

    async def _run(self) -> None:
        while not self._is_closed:
            await self._is_filled.wait()
            recipe_id = next(iter(self._waiting))
            try:
                outcome = await self._outcome(recipe_id)
            finally:
                rendering = self._waiting.pop(recipe_id)
                if not self._waiting:
                    self._is_filled.clear()
            rendering.set_result(outcome)

    async def _outcome(self, recipe_id: UUID) -> Outcome:
        try:
            return await self._renderer.render(recipe_id)
        except RecipeNotFound:
            return Outcome.GIVEN_UP
        except Unavailable:  # already logged
            return Outcome.FAILED
        except Exception:  # noqa: BLE001 - a bug must not stop the renderer for good
            _log.exception("unexpected error", recipe=str(recipe_id))
            return Outcome.FAILED
