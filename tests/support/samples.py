"""Real photos, and what the service stores of them."""

from pathlib import Path

from recipe_api.photos.kinds import HEAD_BYTES, sniff
from recipe_api.photos.metadata import PhotoMetadata, stream_of

SAMPLES = Path(__file__).parents[1] / "photos"


def sample(name: str) -> bytes:
    """Return one of the photos in tests/photos."""
    return (SAMPLES / name).read_bytes()


def without_metadata(photo: bytes) -> bytes:
    """Return what is stored of a photo. tests/photos checks whether that is right."""
    stream = stream_of(sniff(photo[:HEAD_BYTES]), PhotoMetadata.REMOVE)
    return b"".join([*stream.feed(memoryview(photo)), *stream.close()])
