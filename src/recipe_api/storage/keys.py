"""Keys that sort by time, never meet and cannot be guessed.

`1795332567934-4f9a1c….jpg`: milliseconds since the epoch (13 digits until the year 2286, so that text sorts as the
numbers do), 128 random bits, the extension of what the file is. A configured prefix goes before it.
"""

import re
import secrets
from datetime import UTC, datetime, timedelta

RANDOM_BYTES = 16
"""128 bits: two uploads of one millisecond never meet, and knowing one key helps nobody to another."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = 10**13 - 1  # in the year 2286
_KEY = re.compile(r"(?P<milliseconds>[0-9]{13})-[0-9a-f]{32}\.[a-z0-9]{1,8}", re.ASCII)


def new_key(created_at: datetime, *, prefix: str, extension: str) -> str:
    """A key that nothing had before."""
    milliseconds = (created_at - _EPOCH) // _MILLISECOND
    return f"{prefix}{milliseconds:013d}-{secrets.token_hex(RANDOM_BYTES)}.{extension}"


def time_of(key: str, *, prefix: str) -> datetime | None:
    """When the key was made, to the millisecond; None when it is not of our form under this prefix."""
    match = _KEY.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return _EPOCH + int(match["milliseconds"]) * _MILLISECOND if match else None


def now() -> datetime:
    """The time, cut to the millisecond that keys carry."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def lowest_of(time: datetime) -> str:
    """What sorts before every key made at `time` or later, and after all made before; without a prefix."""
    return f"{min((time - _EPOCH) // _MILLISECOND, _LAST):013d}"
