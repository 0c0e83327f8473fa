"""The name that a file had at its owner's, made safe to store and to send in a header."""

import re
import unicodedata
from urllib.parse import quote

MAX_NAME_BYTES = 255
"""Bytes of UTF-8, as most file systems have it; escaped, this stays far below S3's 8 KB of headers."""

_DROPPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's general categories of control and format characters, halves of surrogate pairs and line separators."""
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%;]')
"""Beyond ASCII, or what would need an escape, which clients read differently, or where simple ones split a header."""
_JOINERS = "\u200c\u200d"
"""Format characters that belong to the spelling of Persian and Indic words, and to many an emoji."""


def original_name(filename: str, *, extension: str) -> str:
    """The last segment of a file name, without control characters, cut to `MAX_NAME_BYTES`, its extension kept.

    Some clients send whole paths, with either slash. A name of which nothing is left becomes `photo.{extension}`.
    """
    name = filename.replace("\\", "/").rpartition("/")[2]
    if not name.isprintable():
        name = "".join(c for c in name if c in _JOINERS or unicodedata.category(c) not in _DROPPED)
    name = name.strip(f" .{_JOINERS}")
    return _cut(name) if name else f"photo.{extension}"


def content_disposition(name: str, *, inline: bool) -> str:
    """The header that offers a file under this name (RFC 6266), in ASCII: a plain fallback, and the name itself."""
    fallback = _NOT_PLAIN.sub("_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe='')}"


def _cut(name: str) -> str:
    if len(name.encode("utf-8")) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = f"{dot}{extension}" if len(extension.encode("utf-8")) <= 16 else ""  # longer, it is no extension
    room = MAX_NAME_BYTES - len(ending.encode("utf-8"))
    whole = stem if ending else name
    return whole.encode("utf-8")[:room].decode("utf-8", "ignore") + ending
