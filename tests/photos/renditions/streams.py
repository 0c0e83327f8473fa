"""Photos as they come from the store, and the processes that render them."""

from collections.abc import AsyncIterator

import psutil

from recipe_api.photos.renditions.process import Job, Limits, Rendered, render

SIZES = (320, 960)


async def streamed(photo: bytes, *, chunk: int = 64 * 1024) -> AsyncIterator[bytes]:
    """Yield a photo in chunks."""
    for start in range(0, len(photo), chunk):
        yield photo[start : start + chunk]


async def rendered(
    photo: bytes, content_type: str, *, sizes: tuple[int, ...] = SIZES, limits: Limits | None = None
) -> Rendered:
    """Render a photo that comes in chunks."""
    return await render(streamed(photo), Job(content_type=content_type, sizes=sizes), limits=limits or Limits())


def renderers() -> list[psutil.Process]:
    """Return the child processes of this one that render, or have ended without being reaped."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() == psutil.STATUS_ZOMBIE or "recipe_api.photos.renditions.child" in child.cmdline()
    ]
