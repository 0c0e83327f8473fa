"""Object keys that sort by time, are unique and cannot be guessed.

`1795332567934-4f9a1c….jpg`: milliseconds since the epoch (13 digits until the year 2286, so that keys sort like the
numbers), 128 random bits, and the extension of the file's detected type. The configured prefix precedes it.

A rendition of the photo, such as `1795332567934-4f9a1c…_320.webp`, has the same beginning, and its longest side in
pixels. In a listing it follows its original, because the underscore sorts after the dot.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

RANDOM_BYTES = 16
"""128 bits: keys of the same millisecond do not collide, and one key reveals nothing about another."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = 10**13 - 1  # in the year 2286
_KEY = re.compile(r"(?P<milliseconds>[0-9]{13})-[0-9a-f]{32}(\.[a-z0-9]{1,8}|_[1-9][0-9]{1,3}\.webp)", re.ASCII)
_RENDITION = re.compile(r"(?P<stem>.*[0-9]{13}-[0-9a-f]{32})_(?P<size>[1-9][0-9]{1,3})\.webp", re.ASCII)

_SECRET = re.compile(r"([0-9]{13}-[0-9a-f]{4})[0-9a-f]{28}(?=_(?:[0-9]{5}|$))", re.ASCII)
_PIECE = re.compile(r"(?P<stem>[0-9]{13}-[0-9a-f]{32})_[0-9]{5}(-[0-9a-f]{32})?\.part", re.ASCII)


def new_key(created_at: datetime, *, prefix: str, extension: str) -> str:
    """Return a key that was never used before."""
    milliseconds = (created_at - _EPOCH) // _MILLISECOND
    return f"{prefix}{milliseconds:013d}-{os.urandom(RANDOM_BYTES).hex()}.{extension}"


def new_staged_stem(created_at: datetime, *, prefix: str) -> str:
    """Return the common beginning of the keys of a new staged upload's pieces."""
    return new_key(created_at, prefix=prefix, extension="part").removesuffix(".part")


def piece_stem(key: str, *, prefix: str) -> str | None:
    """Return the stem of a piece's key; None if the key is not that of a piece under this prefix."""
    match = _PIECE.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return prefix + match["stem"] if match else None


def piece_key(stem: str, number: int, *, claim: UUID | None = None) -> str:
    """Return the key of a piece. The keys of an upload sort in the order of the numbers.

    Args:
        stem: The stem of the upload.
        number: The number of the piece, from 1.
        claim: The claim under which the service writes the piece; None if a client writes it. With it, a writer that
            has lost its claim cannot write to the key of another one.
    """
    writer = f"-{claim.hex}" if claim else ""
    return f"{stem}_{number:05d}{writer}.part"


def without_secret(key: str) -> str:
    """Return a key for the log. A piece's key permits completing its upload, so most of its random part is left out."""
    return _SECRET.sub(r"\1…", key)


def stem(key: str) -> str:
    """Return the common beginning of a photo's key and its renditions' keys, including the prefix."""
    rendition = _RENDITION.fullmatch(key)
    return rendition["stem"] if rendition else key.rpartition(".")[0]


def rendition_key(key: str, size: int) -> str:
    """Return the key of a photo's rendition.

    Args:
        key: The key of the photo.
        size: The longest side of the rendition in pixels.
    """
    return f"{stem(key)}_{size}.webp"


def rendition_size(key: str) -> int | None:
    """Return the size in a rendition's key; None if the key is not that of a rendition."""
    rendition = _RENDITION.fullmatch(key)
    return int(rendition["size"]) if rendition else None


def creation_time(key: str, *, prefix: str) -> datetime | None:
    """Return when the key was created, to the millisecond; None if it does not have our form under this prefix."""
    match = _KEY.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return _EPOCH + int(match["milliseconds"]) * _MILLISECOND if match else None


def now() -> datetime:
    """Return the current time, truncated to the millisecond, like the time in keys."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def lower_bound(time: datetime) -> str:
    """Return the lower bound, without prefix, of all keys that are created at `time` or later."""
    return f"{min((time - _EPOCH) // _MILLISECOND, _LAST):013d}"
