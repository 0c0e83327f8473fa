"""Parses the headers of a part: field name, file name, media type and encoding.

Nearly all clients send a `Content-Disposition` without escapes, followed at most by a `Content-Type`;
`parse_common_headers` parses these with one regular expression. `parse_headers` parses any headers.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from recipe_api.errors import InvalidText, MalformedBody
from recipe_api.multipart.charsets import decode, decode_leniently

_COMMON = re.compile(
    rb'Content-Disposition: form-data; name="([^"\\\r\n]++)"(?:; filename="([^"\\\r\n]*+)")?\r\n'
    rb"(?:Content-Type: ([^ \r\n][^\r\n]*+)\r\n)?\r\n"
)
"""All headers of a part as nearly all clients send them, with the empty line that ends them."""
_SEGMENT = re.compile(rb';[ \t\n]*+(?:([^\s=;"]++)[ \t]*+=[ \t]*+)?(?:"((?:[^"\\]|\\.)*+)"?[^;]*+|([^;]*+))', re.DOTALL)
"""One parameter. A quoted value ends at its closing quote; the rest up to the next semicolon is ignored, such as the
stray quote that Retrofit adds when its users put the file name into the field name. The pattern never backtracks."""
_ESCAPED = re.compile(rb'\\(["\\])')
"""A quoted pair. Other backslashes are kept, because older browsers send Windows paths unescaped."""
_CONTINUATION = re.compile(rb"filename\*(\d{1,3})(\*?)")
_ENCODED_WORD = re.compile(r"=\?([\w.:-]+)(?:\*[\w-]*)?\?([BbQq])\?([^?]*)\?=")
_ENCODED_WORDS = re.compile(rf"{_ENCODED_WORD.pattern}(?:\s+{_ENCODED_WORD.pattern})*")
MAX_PARAMETERS = 64
"""Maximum number of parameters of one header, enough for the longest file name that Python's `email` splits up."""
_MAX_SHOWN = 40
"""Maximum length in characters of a value that is quoted in an error message."""
_TEXT_TYPE = re.compile(rb"\s*(?:text/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """The headers of a part."""

    name: str
    filename: str | None
    """None if missing, as in text fields; the name of a file may be empty."""
    content_type: bytes = b""
    """As sent; empty if missing."""
    transfer_encoding: bytes = b""
    """`Content-Transfer-Encoding`, as sent; empty if missing."""

    @property
    def is_declared_binary(self) -> bool:
        """Whether the media type is other than text, which is the default (RFC 7578 §4.4)."""
        return not _TEXT_TYPE.match(self.content_type)

    @property
    def charset(self) -> str:
        """The `charset` parameter of the media type; empty if missing."""
        return parse_parameters(self.content_type)[1].get(b"charset", b"").decode("latin-1").strip()


def printable(value: str | bytes) -> str:
    """Make a received value safe to quote in an error message: printable and short."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    text = "".join(c if c.isprintable() else "?" for c in text.strip())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def malformed(reason: str) -> MalformedBody:
    """Return the error for a body that violates RFC 2046 or RFC 7578."""
    return MalformedBody(f"The multipart body is malformed: {reason}.")


def parse_common_headers(head: bytes) -> tuple[PartHeaders, int] | None:
    """Parse the headers of a part and return their length as well; None if they are not in the common form.

    Raises:
        InvalidText: The field name is not valid text.
    """
    common = _COMMON.match(head)
    if common is None:
        return None
    name, filename, content_type = common.groups()
    text = None if filename is None else _plain_name(filename)
    return PartHeaders(_field_name(name), text, content_type or b""), common.end()


def parse_headers(headers: Mapping[bytes, bytes]) -> PartHeaders:
    """Parse the headers of a part, given by name in lower case.

    Raises:
        MalformedBody: `Content-Disposition` is missing, is not `form-data`, or has no name.
        InvalidText: The field name is not valid text.
    """
    name, filename = _name_and_filename(headers.get(b"content-disposition", b""))
    return PartHeaders(
        _field_name(name), filename, headers.get(b"content-type", b""), headers.get(b"content-transfer-encoding", b"")
    )


def parse_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Split a header value into its type and its parameters, with type and names in lower case.

    If a parameter is repeated, the first one is used. Parameters beyond `MAX_PARAMETERS` are ignored.
    """
    kind, semicolon, _ = value.partition(b";")
    parameters: dict[bytes, bytes] = {}
    at = len(kind) if semicolon else len(value)
    for _ in range(MAX_PARAMETERS):
        segment = _SEGMENT.match(value, at)
        if segment is None:
            break
        name, quoted, bare = segment.groups()
        if name:
            text = bare.strip() if quoted is None else _ESCAPED.sub(rb"\1", quoted)
            parameters.setdefault(name.lower(), text)
        at = segment.end()
    return kind.strip().lower(), parameters


def _name_and_filename(disposition: bytes) -> tuple[bytes, str | None]:
    kind, parameters = parse_parameters(disposition)
    if not kind:
        raise malformed("a part has no Content-Disposition")
    if kind != b"form-data":
        raise malformed(f"a part has Content-Disposition: {printable(kind)} instead of form-data")
    if not parameters.get(b"name"):
        raise malformed("the Content-Disposition of a part has no name")
    return parameters[b"name"], _filename(parameters)


def _field_name(name: bytes) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError as error:
        # The traceback of the cause would keep the chunk in memory.
        raise InvalidText("The name of a field is not valid UTF-8.") from error.with_traceback(None)
    if "\0" in text:
        raise InvalidText("The name of a field contains a NUL character.")
    return text


def _filename(parameters: Mapping[bytes, bytes]) -> str | None:
    """Return the file name. `filename*` takes precedence over `filename`, which is its fallback (RFC 6266 §4.3).

    RFC 7578 §4.2 forbids `filename*` in forms. But .NET and Apache HttpClient send it beside a `filename` that is
    encoded as in mail, older urllib3 sends only `filename*` for non-ASCII names, and Python's `email` splits a long one
    into several parameters (RFC 2231 §3). A name that cannot be decoded does not fail the upload.
    """
    plain, extended = parameters.get(b"filename"), parameters.get(b"filename*")
    if extended is None:
        extended = _join_continuations(parameters)
    if extended is not None:
        try:
            return _extended_name(extended)
        except ValueError:
            if plain is None:
                return decode_leniently(unquote_to_bytes(extended.rpartition(b"'")[2]))
    return None if plain is None else _plain_name(plain)


def _join_continuations(parameters: Mapping[bytes, bytes]) -> bytes | None:
    """Join `filename*0`, `filename*1*` and so on into one extended value; None if the first one is missing."""
    sections = {
        int(found[1]): (bool(found[2]), value)
        for name, value in parameters.items()
        if (found := _CONTINUATION.fullmatch(name))
    }
    joined, at = b"", 0
    while at in sections:
        is_encoded, value = sections[at]
        if at == 0 and not is_encoded:
            joined = b"utf-8''"
        joined += value if is_encoded else value.replace(b"%", b"%25")
        at += 1
    return joined if at else None


def _extended_name(value: bytes) -> str:
    """Decode an extended value, `charset'language'percent-encoded` (RFC 8187 §3.2).

    Raises:
        ValueError: It has another format, or cannot be decoded.
    """
    charset, quote, rest = value.partition(b"'")
    _, second, encoded = rest.partition(b"'")
    if not (quote and second):
        raise ValueError("not an extended value")
    return decode(unquote_to_bytes(encoded), charset.decode("latin-1"))


def _plain_name(value: bytes) -> str:
    name = decode_leniently(value)
    return _ENCODED_WORDS.sub(lambda words: _decoded_words(words[0]), name) if "=?" in name else name


def _decoded_words(words: str) -> str:
    """Decode encoded words (RFC 2047), which older clients use for non-ASCII names; return invalid ones unchanged."""
    try:
        return "".join(_decoded_word(*found.groups()) for found in _ENCODED_WORD.finditer(words))
    except ValueError:
        return words


def _decoded_word(charset: str, encoding: str, text: str) -> str:
    raw = text.encode("latin-1", "replace")
    if encoding in "Qq":
        return decode(binascii.a2b_qp(raw, header=True), charset)
    return decode(binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True), charset)
