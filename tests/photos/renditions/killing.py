"""Renders photos without end, one after another, for test_killing.py to kill: `killing.py LOCK PHOTO`."""

import asyncio
import sys
from pathlib import Path

from recipe_api.photos.renditions.process import Job, Limits, render
from recipe_api.photos.renditions.slot import Slot
from tests.photos.renditions.streams import streamed


async def main(lock: Path, photo: bytes) -> None:
    slot = Slot(lock)
    job = Job(content_type="image/jpeg", sizes=(320,))
    while True:
        async with slot.taken() as descriptor:
            await render(streamed(photo, chunk=4096), job, limits=Limits(), lock=descriptor)
        print("rendered", flush=True)  # noqa: T201 - test_killing.py waits for it


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
