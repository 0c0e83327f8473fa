"""Validates labels: text that PostgreSQL can store, that people can see, and that is not too long."""

import unicodedata

from recipe_api.errors import FieldEmpty, InvalidText, TextTooLarge
from recipe_api.units import size_in_words

_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
"""The Unicode general categories of spaces, separators, control and format characters."""


def check_label(label: str, *, max_bytes: int) -> str:
    """Return the label unchanged if it is valid.

    Args:
        label: The text, as the client sent it.
        max_bytes: The maximum length, in bytes of UTF-8.

    Raises:
        FieldEmpty: It is empty, or only white space and invisible characters such as U+200B.
        InvalidText: It contains a NUL, which PostgreSQL cannot store, or a lone surrogate, which UTF-8 cannot encode.
        TextTooLarge: It exceeds the limit.
    """
    try:
        size = len(label.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidText(
            "The field label contains half of a surrogate pair. Send whole characters.", field="label"
        ) from error
    if size > max_bytes:
        raise TextTooLarge(f"The field label may have at most {size_in_words(max_bytes)}. Shorten it.", field="label")
    if "\0" in label:
        raise InvalidText("The field label contains a NUL character. Remove it.", field="label")
    if all(unicodedata.category(c) in _INVISIBLE for c in label):
        raise FieldEmpty("The field label is empty. Describe the photo.", field="label")
    return label
