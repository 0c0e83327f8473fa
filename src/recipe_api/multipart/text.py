"""Decodes the values of text fields.

RFC 7578 recommends UTF-8 (§5.1) and deprecates transfer encodings (§4.7). Apache HttpClient, and mail libraries that
build forms, use other encodings all the same and declare them in the headers of the part, so these are decoded.
"""

import binascii
import re
from dataclasses import dataclass

from recipe_api.errors import InvalidText
from recipe_api.multipart.charsets import decode, is_known
from recipe_api.multipart.headers import PartHeaders, printable

MAX_EXPANSION = 6
"""How many times longer than in UTF-8 an encoded text may be: UTF-32 takes four bytes for a letter, and base64 with
line breaks adds 37 %."""

_WHITE_SPACE = re.compile(rb"[ \t\r\n]+")
_PLAIN = frozenset({"", "binary", "7bit", "8bit"})
"""Values of `Content-Transfer-Encoding` that do not change the bytes (RFC 2045 §6.2)."""


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How the value of a text field is encoded."""

    charset: str = "utf-8"
    declared_in: str = ""
    """Which header declares the charset; empty if none does."""
    transfer_encoding: str = ""

    @property
    def max_expansion(self) -> int:
        """How many times longer than in UTF-8 the encoded value may be."""
        return 1 if not self.transfer_encoding and self.charset == "utf-8" else MAX_EXPANSION

    def decode(self, value: bytes, *, field: str) -> str:
        """Decode the value of a field.

        Raises:
            InvalidText: The value is not encoded as declared.
        """
        plain = _without_transfer_encoding(value, self.transfer_encoding, field=field)
        try:
            return decode(plain, self.charset)
        except UnicodeDecodeError as error:
            source = f", the charset in {self.declared_in}" if self.declared_in else ""
            # The traceback of the cause would keep the value in memory.
            raise InvalidText(
                f"{field} is not valid {self.charset.upper()}{source}. Send UTF-8.", field=field
            ) from error.with_traceback(None)


UTF_8 = TextEncoding()
"""The encoding of a field whose part declares none."""


def is_unencoded(transfer_encoding: bytes) -> bool:
    """Return whether this `Content-Transfer-Encoding` does not change the bytes."""
    return _lower(transfer_encoding) in _PLAIN


def declared_encoding(part: PartHeaders, *, default_charset: str) -> TextEncoding:
    """Return the encoding that the headers of a part declare.

    Raises:
        InvalidText: The charset or the transfer encoding is unknown.
    """
    transfer_encoding = _lower(part.transfer_encoding)
    if transfer_encoding in _PLAIN:
        transfer_encoding = ""
    elif transfer_encoding not in {"base64", "quoted-printable"}:
        raise InvalidText(
            f"{part.name} has the unknown Content-Transfer-Encoding {printable(part.transfer_encoding)}. Remove it.",
            field=part.name,
        )
    declared = part.charset.lower()
    charset, source = (declared, "its Content-Type") if declared else (default_charset, "")
    if not is_known(charset):
        raise InvalidText(
            f"{part.name} has the unknown charset {printable(charset)} in its Content-Type. Send UTF-8.",
            field=part.name,
        )
    return TextEncoding(charset, source, transfer_encoding)


def _lower(header: bytes) -> str:
    return header.strip().lower().decode("latin-1")


def _without_transfer_encoding(value: bytes, transfer_encoding: str, *, field: str) -> bytes:
    if not transfer_encoding:
        return value
    if transfer_encoding == "quoted-printable":
        return binascii.a2b_qp(value)
    try:
        return binascii.a2b_base64(_WHITE_SPACE.sub(b"", value), strict_mode=True)
    except binascii.Error:
        raise InvalidText(
            f"{field} is not valid base64, the Content-Transfer-Encoding of its part. Send it unencoded.", field=field
        ) from None
