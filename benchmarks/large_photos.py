"""Large photos for benchmarks, which show the same: `large_photos.py FOLDER [--more]`.

Run it as a separate process, because the memory that it takes would count towards that of any process that it starts.
"""

import io
import random
import sys
from pathlib import Path

import pillow_heif
from PIL import Image, ImageChops

COFFEE = Path(__file__).parents[1] / "examples" / "coffee.jpg"


def large(width: int, height: int) -> Image.Image:
    """Return a photo at these dimensions, with the grain of a sensor, the same every time."""
    photo = Image.open(COFFEE).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    values = random.Random(1).randbytes(width * height)  # noqa: S311 - no secret
    grain = Image.frombytes("L", (width, height), values).point(lambda value: value // 8)
    return ImageChops.add(photo, Image.merge("RGB", [grain] * 3), 1, -16)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return a photo of this format."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def main(folder: Path, *, more: bool) -> None:
    """Write the photos."""
    pillow_heif.register_heif_opener()
    twelve = large(4000, 3000)
    (folder / "12 MP.jpg").write_bytes(encoded(twelve, "JPEG", quality=90))
    (folder / "12 MP.png").write_bytes(encoded(twelve, "PNG"))
    if more:
        twenty_four, grid = large(6000, 4000), {"tile_size": 512}  # as iPhones do
        for name, image, file_format, options in (
            ("12 MP.avif", twelve, "AVIF", {"speed": 10}),
            ("12 MP.heic", twelve, "HEIF", grid),
            ("12 MP.webp", twelve, "WEBP", {"method": 0}),
            ("24 MP.heic", twenty_four, "HEIF", grid),
            ("24 MP.jpg", twenty_four, "JPEG", {"quality": 90}),
            ("24 MP.png", twenty_four, "PNG", {"compress_level": 1}),
            ("24 MP, progressive.jpg", twenty_four, "JPEG", {"quality": 90, "progressive": True}),
        ):
            (folder / name).write_bytes(encoded(image, file_format, **options))


if __name__ == "__main__":
    main(Path(sys.argv[1]), more="--more" in sys.argv)
