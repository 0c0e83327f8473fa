"""Character sets, by the names that forms use for them.

Names are looked up in a fixed table instead of Python's codec registry. The registry also contains `zlib`, `rot13`,
`idna` and `unicode_escape`, which are not character sets, and it caches every unknown name that it is asked for.
"""

import re
from encodings.aliases import aliases

_UTF = ("utf_8", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le")
_WESTERN = ("ascii", "latin_1", *(f"iso8859_{part}" for part in (*range(2, 12), 13, 14, 15, 16)))
_WINDOWS = ("cp874", *(f"cp{page}" for page in range(1250, 1259)))
_DOS = tuple(f"cp{page}" for page in (437, 720, 737, 775, 850, 852, 855, 857, 858, *range(860, 867), 869, 1125))
_CYRILLIC = ("koi8_r", "koi8_u", "koi8_t", "kz1048", "ptcp154")
_MAC = ("mac_roman", "mac_latin2", "mac_cyrillic", "mac_greek", "mac_turkish", "mac_croatian", "mac_iceland")
_CHINESE = ("gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "cp950")
_JAPANESE = (
    *("euc_jp", "euc_jis_2004", "euc_jisx0213", "shift_jis", "shift_jis_2004", "shift_jisx0213", "cp932"),
    *("iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_3", "iso2022_jp_ext"),
)
_KOREAN = ("euc_kr", "cp949", "johab", "iso2022_kr")
_OTHER = ("tis_620", "hp_roman8")
_CODECS = frozenset(_UTF + _WESTERN + _WINDOWS + _DOS + _CYRILLIC + _MAC + _CHINESE + _JAPANESE + _KOREAN + _OTHER)
"""Python's codecs that are character sets. UTF-7 is excluded: it can disguise ASCII, and browsers do not support it."""
_MORE_NAMES = {
    "windows_31j": "cp932",
    "x_sjis": "cp932",
    "x_gbk": "gbk",
    "x_x_big5": "big5",
    "x_euc_jp": "euc_jp",
    "windows_874": "cp874",
    "windows_949": "cp949",
    "ks_c_5601_1987": "cp949",
    "iso_8859_8_i": "iso8859_8",
    "x_mac_cyrillic": "mac_cyrillic",
    "macintosh": "mac_roman",
    "unicode_1_1_utf_8": "utf_8",
}
"""Names in the WHATWG Encoding standard (§4.2) that Python does not know."""
_SUPERSETS = {
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
"""What clients mean by these names according to the WHATWG Encoding standard: a superset that assigns printable
characters to control codes and unused codes."""
_WORD = re.compile(r"[0-9a-z]+")


def _normalize(name: str) -> str:
    """Normalize a name to the spelling of the table: lower-case words joined by underscores."""
    return "_".join(_WORD.findall(name.lower()))


CHARSETS = (
    {name: name for name in _CODECS}
    | {_normalize(alias): codec for alias, codec in aliases.items() if codec in _CODECS}
    | _MORE_NAMES
)
"""Python's codec for each normalized name of a character set."""


class UnknownCharsetError(ValueError):
    """No supported character set has this name."""


def is_known(charset: str) -> bool:
    """Return whether a supported character set has this name."""
    return _codec(charset) is not None


def decode(value: bytes, charset: str) -> str:
    """Decode text from the named character set. Any spelling will do: `UTF-8`, `utf8`, `iso-8859-1`, `Latin1`.

    Raises:
        UnknownCharsetError: No supported character set has this name.
        UnicodeDecodeError: The bytes are not valid in it.
    """
    if charset == "utf-8":
        return value.decode("utf-8")
    codec = _codec(charset)
    if codec is None:
        raise UnknownCharsetError(charset)
    if codec in _SUPERSETS:
        try:
            return value.decode(_SUPERSETS[codec])
        except UnicodeDecodeError:
            pass  # a control character, which only the original set has
    return value.decode(codec)


def decode_leniently(value: bytes) -> str:
    """Decode text of unknown encoding: as UTF-8 if valid, otherwise as windows-1252, which never fails."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _codec(charset: str) -> str | None:
    return CHARSETS.get(_normalize(charset))
