"""Times and ages as arguments of commands."""

import argparse
import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> timedelta:
    """Parse an age such as `90m`, `24h` or `7d`; `0` needs no unit."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if not match or (not match[2] and match[1] != "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an age; write it as 90m, 24h or 7d")
    try:
        age = timedelta(seconds=int(match[1]) * _UNITS.get(match[2], 1))
        datetime.now(UTC) - age
    except (OverflowError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from None
    return age


def moment(text: str) -> datetime:
    """Parse a time such as `2026-11-22` or `2026-11-22T07:30` (UTC unless it has a zone), or an age such as `7d`."""
    try:
        if re.fullmatch(r"\d+[smhd]", text):
            return datetime.now(UTC) - duration(text)
        found = datetime.fromisoformat(text)
    except (OverflowError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write it as 2026-11-22, 2026-11-22T07:30 or 7d"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
