"""The queue of photos to render: bounded, shared by viewers, and never the end of the service."""

import asyncio
from typing import cast
from uuid import UUID, uuid4

import pytest

from recipe_api.errors import RecipeNotFound, StorageUnavailable
from recipe_api.photos.renditions.process import RendererFailed
from recipe_api.uploads.render_queue import MAX_WAITING, RenderQueue
from recipe_api.uploads.renderer import Outcome, Renderer


class Held:
    """A renderer that waits until it is released, and fails if it is told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.rendered: list[UUID] = []
        self.has_begun = asyncio.Event()
        self.release = asyncio.Event()
        self.failure = failure
        self.given_up: set[UUID] = set()

    async def has_given_up(self, recipe_id: UUID) -> bool:
        return recipe_id in self.given_up

    async def render(self, recipe_id: UUID) -> Outcome:
        self.rendered.append(recipe_id)
        self.has_begun.set()
        await self.release.wait()
        if self.failure:
            raise self.failure
        return Outcome.DONE


def queue_of(renderer: object) -> RenderQueue:
    return RenderQueue(cast("Renderer", renderer))


async def test_viewers_of_a_photo_share_one_rendering() -> None:
    renderer, recipe_id = Held(), uuid4()
    queue = queue_of(renderer)

    async with queue.running():
        assert queue.offer(recipe_id)
        viewers = [asyncio.create_task(queue.render_now(recipe_id)) for _ in range(5)]
        await renderer.has_begun.wait()
        renderer.release.set()
        outcomes = await asyncio.gather(*viewers)

    assert outcomes == [Outcome.DONE] * 5
    assert renderer.rendered == [recipe_id]


async def test_a_photo_that_somebody_wants_to_see_comes_first() -> None:
    renderer = Held()
    queue = queue_of(renderer)
    first, second, wanted = uuid4(), uuid4(), uuid4()

    async with queue.running():
        queue.offer(first)
        await renderer.has_begun.wait()
        queue.offer(second)
        viewer = asyncio.create_task(queue.render_now(wanted))
        last = asyncio.create_task(queue.render_now(second))
        await asyncio.sleep(0)
        renderer.release.set()
        await asyncio.gather(viewer, last)

    assert renderer.rendered[0] == first
    assert set(renderer.rendered) == {first, second, wanted}


async def test_a_photo_that_was_given_up_does_not_wait_for_others() -> None:
    renderer, given_up = Held(), uuid4()
    renderer.given_up.add(given_up)
    queue = queue_of(renderer)

    async with queue.running():
        queue.offer(uuid4())
        await renderer.has_begun.wait()

        assert await queue.render_now(given_up) is Outcome.GIVEN_UP

    assert given_up not in renderer.rendered


async def test_a_full_queue_drops_new_photos_and_sends_viewers_away() -> None:
    queue = queue_of(Held())

    assert all(queue.offer(uuid4()) for _ in range(MAX_WAITING))

    assert not queue.offer(uuid4())
    assert await queue.render_now(uuid4()) is Outcome.BUSY


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (RecipeNotFound("It was deleted."), Outcome.GIVEN_UP),
        (StorageUnavailable("The store is away."), Outcome.FAILED),
        (ZeroDivisionError("a bug"), Outcome.FAILED),
    ],
)
async def test_a_failure_does_not_end_the_queue(failure: Exception, outcome: Outcome) -> None:
    renderer = Held(failure)
    renderer.release.set()
    queue = queue_of(renderer)

    async with queue.running():
        assert await queue.render_now(uuid4()) is outcome
        renderer.failure = None
        assert await queue.render_now(uuid4()) is Outcome.DONE


async def test_it_ends_even_if_a_rendering_fails_while_it_is_cancelled() -> None:
    class Stubborn(Held):
        async def render(self, recipe_id: UUID) -> Outcome:
            try:
                return await super().render(recipe_id)
            except asyncio.CancelledError:
                raise RendererFailed("The child did not end.") from None

    renderer = Stubborn()
    queue = queue_of(renderer)

    async with asyncio.timeout(60), queue.running():
        queue.offer(uuid4())
        await renderer.has_begun.wait()

    assert len(renderer.rendered) == 1
