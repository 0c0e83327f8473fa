"""What a label may be: text that PostgreSQL can store and a person can see, within a limit."""

import unicodedata

from recipe_api.errors import FieldEmpty, InvalidText, TextTooLarge

_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
"""Unicode's general categories of spaces, separators, control and format characters."""


def check_label(label: str, *, max_bytes: int) -> str:
    """The label, unchanged, if it is one.

    Args:
        label: The text as sent.
        max_bytes: Its limit, in bytes of UTF-8.

    Raises:
        FieldEmpty: It has nothing but white space and what takes no room, such as U+200B.
        InvalidText: It has a NUL, which PostgreSQL's text cannot hold, or a lone surrogate, which UTF-8 cannot.
        TextTooLarge: It is over the limit.
    """
    try:
        size = len(label.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidText("label has half of a surrogate pair; send whole characters.", field="label") from error
    if size > max_bytes:
        raise TextTooLarge(f"label may have at most {max_bytes} bytes; shorten it.", field="label")
    if "\0" in label:
        raise InvalidText("label has a NUL character.", field="label")
    if all(unicodedata.category(c) in _UNSEEN for c in label):
        raise FieldEmpty("label is empty; say what the photo shows.", field="label")
    return label
