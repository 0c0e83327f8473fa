"""Makes the file name of an upload safe to store and to send in a header."""

import re
import unicodedata
from urllib.parse import quote

from recipe_api.photos.kinds import Kind

MAX_NAME_BYTES = 255
"""Bytes of UTF-8: the limit of most file systems. Escaped, such a name stays far below S3's 8 KB of headers."""

_DROPPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""The Unicode general categories of control and format characters, surrogates and line separators."""
_UNSAFE = re.compile(r'[^ -~]|["\\%;]')
"""Characters outside ASCII, those whose escapes clients interpret differently, and the separator of parameters."""
_EXTENSION = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]{1,10}")
"""An extension that may be replaced, unlike the ends of `Dr. Oetker` and `2026.11`."""
_JOINERS = "\u200c\u200d"
"""Format characters that Persian and Indic spelling requires, and many emoji."""


def original_name(filename: str, *, extension: str) -> str:
    """Return the last segment of a file name, without control characters, shortened to `MAX_NAME_BYTES`.

    The extension is kept. Some clients send whole paths, with slashes or backslashes. If nothing is left of a name, it
    becomes `photo.{extension}`.
    """
    name = filename.replace("\\", "/").rpartition("/")[2]
    if not name.isprintable():
        name = "".join(c for c in name if c in _JOINERS or unicodedata.category(c) not in _DROPPED)
    name = name.strip(f" .{_JOINERS}")
    return _cut(name) if name else f"photo.{extension}"


def download_name(name: str, kind: Kind) -> str:
    """Return a name with an extension of this kind, so that a saved photo is never a web page or a program."""
    stem, dot, extension = name.rpartition(".")
    if dot and extension.lower() in {kind.extension, *kind.other_extensions}:
        return name
    kept = stem if dot and stem and _EXTENSION.fullmatch(extension) else name
    return _cut(f"{kept}.{kind.extension}")


def content_disposition(name: str, *, inline: bool) -> str:
    """Return a `Content-Disposition` header (RFC 6266) in ASCII, with a plain fallback and the name itself."""
    fallback = _UNSAFE.sub("_", name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{fallback}\"; filename*=UTF-8''{quote(name, safe='')}"


def _cut(name: str) -> str:
    if len(name.encode("utf-8")) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    ending = f"{dot}{extension}" if len(extension.encode("utf-8")) <= 16 else ""  # otherwise it is not an extension
    max_bytes = MAX_NAME_BYTES - len(ending.encode("utf-8"))
    whole = stem if ending else name
    return whole.encode("utf-8")[:max_bytes].decode("utf-8", "ignore") + ending
