"""Makes renditions in a child process."""

import io
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from recipe_api.photos.renditions.process import Job, Limits, PhotoUnrenderable, render
from tests.support.samples import sample

pytestmark = pytest.mark.slow


async def streamed(photo: bytes, *, chunk: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(photo), chunk):
        yield photo[start : start + chunk]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("hopper.jpg", "image/jpeg"),
        ("pil136.png", "image/png"),
        ("hopper.gif", "image/gif"),
        ("hopper.webp", "image/webp"),
        ("hopper.avif", "image/avif"),
        ("hopper.heif", "image/heif"),
    ],
)
async def test_every_type_is_rendered(name: str, content_type: str) -> None:
    rendered = await render(streamed(sample(name)), Job(content_type=content_type, sizes=(20, 320)), limits=Limits())
    small, large = rendered.renditions
    assert max(small.width, small.height) == 20
    assert (large.width, large.height) == (rendered.width, rendered.height)
    for rendition in rendered.renditions:
        shown = Image.open(io.BytesIO(rendition.data))
        assert (shown.format, shown.size) == ("WEBP", (rendition.width, rendition.height))


async def test_what_is_no_photo_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable):
        await render(streamed(bytes(100_000)), Job(content_type="image/jpeg", sizes=(320,)), limits=Limits())
