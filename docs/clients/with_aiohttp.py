"""usage: python with_aiohttp.py http://127.0.0.1:8000 photo.jpg Pancakes"""

import asyncio
import sys
from pathlib import Path

import aiohttp


async def main(url: str, photo: Path, label: str) -> None:
    """Upload a photo and print the recipe."""
    form = aiohttp.FormData(quote_fields=False)  # otherwise a name such as crêpes.jpg is sent percent-encoded
    form.add_field("label", label)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with photo.open("rb") as file:
            form.add_field("photo", file, filename=photo.name)
            async with session.post(f"{url}/recipe", data=form) as response:
                print(await response.text())


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
