"""Chunks of a body in, events out: python-multipart's push parser behind a face that cannot be misused.

The parser's callbacks only record; whoever awaits the next chunk reads what they recorded. A fault in the body is an
event as well, the last one: what stands before it is judged before it, however the body was cut into chunks. So is
the end of the form, since python-multipart does not tell a body that was cut short from one that is whole.

The header block of a part is bounded by python-multipart itself: 8 headers of 4 KiB.

A chunk in the midst of a part, with no delimiter in it, passes that parser by. Looking for one is nearly all there is
to do for a photo, and StringZilla looks in a quarter of the time of `bytes.find`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header
from stringzilla import find

from recipe_api.errors import InvalidText, MalformedBody, NotMultipart, RequestRefused

_BOUNDARY = re.compile(rb"[ -~]{0,%d}[!-~]" % (MAX_BOUNDARY_LENGTH - 1))
_SIMPLE = re.compile(rb'form-data; name="([^"\\]+)"(?:; filename="([^"\\]*)")?')
"""A `Content-Disposition` as nearly all clients write it, with nothing to unescape."""
_PARAMETER = re.compile(rb';\s*([^\s=;]+)\s*=\s*("(?:[^"\\]|\\.)*"?|[^;]*)', re.DOTALL)
_CHARSETS = frozenset({"utf-8", "iso-8859-1", "us-ascii"})
"""Those that RFC 8187 and, before it, RFC 5987 ask for, and the subset of both."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """The headers of a part. `filename` is None for a text field, and may be empty for a file."""

    name: str
    filename: str | None


class Mark(Enum):
    """The events that carry nothing."""

    PART_END = auto()
    FORM_END = auto()


Event = PartBegin | memoryview | Mark
"""A view is data of the part that began last, where the chunk has them."""


def boundary_of(content_type: str | None) -> bytes:
    """The boundary that a `Content-Type` announces.

    Raises:
        NotMultipart: It is no `multipart/form-data`, or names no usable boundary (RFC 2046 §5.1.1).
    """
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data":
        raise NotMultipart("Send the form as multipart/form-data, with the fields label and photo.")
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise NotMultipart("The Content-Type names no usable boundary; let your client set this header itself.")
    return boundary


class EventParser:
    """One body's parser; `feed` it chunk by chunk."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[Event | RequestRefused] = []
        self._delimiter = b"\r\n--" + boundary
        self._begun = False
        self._chunk = b""
        self._amid = False  # the parser took the last chunk to its end for data, and waits for nothing begun
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes | memoryview) -> Sequence[Event | RequestRefused]:
        """The events that `chunk` completes; after an error among them, feed no more.

        A `MalformedBody` says that the bytes break the rules of RFC 2046 or RFC 7578, an `InvalidText` that the name of
        a field or a file is not valid text.
        """
        if not chunk:
            return []  # an empty view would pass for a file's end
        if self._amid and not self._may_delimit(chunk):
            return [memoryview(chunk)]
        chunk = bytes(chunk)
        if not self._begun:
            # A line break may come first. python-multipart skips more, and how much depends on where a chunk ends.
            chunk = chunk.lstrip(b"\r\n")
            self._begun = bool(chunk)
        self._chunk, self._amid = chunk, False
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            fault = MalformedBody(f"The multipart body is malformed: {error}.")
            fault.__cause__ = error
            self._events.append(fault)
        except RequestRefused as error:
            self._events.append(error)
        events, self._events, self._chunk = self._events, [], b""
        return events

    def _may_delimit(self, chunk: bytes | memoryview) -> bool:
        """Whether a delimiter stands in the chunk, or may begin at its end: the only CR of one is its first byte."""
        if find(chunk, self._delimiter) >= 0:
            return True
        end = bytes(chunk[-len(self._delimiter) :])
        last = end.rfind(b"\r")
        return last >= 0 and self._delimiter.startswith(end[last:])

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._header_name.lower()
        if name in self._headers:
            raise MalformedBody("The multipart body is malformed: a part has the same header twice.")
        self._headers[name] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        self._events.append(_part_begin(self._headers.get(b"content-disposition", b"")))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(memoryview(data)[start:end])
        self._amid = data is self._chunk and end == len(data)

    def _on_part_end(self) -> None:
        self._events.append(Mark.PART_END)

    def _on_end(self) -> None:
        self._events.append(Mark.FORM_END)


def _part_begin(disposition: bytes) -> PartBegin:
    if simple := _SIMPLE.fullmatch(disposition):
        named, filename = simple.groups()
    else:
        # parse_options_header speaks latin-1, the wire UTF-8 (RFC 7578 §5.1): bytes go in and come out unchanged.
        kind, options = parse_options_header(disposition.decode("latin-1"))
        if kind != b"form-data" or not options.get(b"name"):
            raise MalformedBody("The multipart body is malformed: a part has no Content-Disposition with a name.")
        named, filename = options[b"name"], options.get(b"filename")
    name = _text(named, what="A field's name")
    if filename is not None:
        return PartBegin(name, _text(filename, what="The file name", field=name))
    return PartBegin(name, None if simple else _extended_filename(disposition, field=name))


def _extended_filename(disposition: bytes, *, field: str) -> str | None:
    # RFC 7578 §4.2 forbids `filename*`, yet older urllib3 sends nothing else for a name beyond ASCII.
    for name, value in _PARAMETER.findall(disposition):
        if name.lower() == b"filename*":
            charset, _, rest = value.strip(b' \t"').partition(b"'")
            return _decoded(unquote_to_bytes(rest.partition(b"'")[2]), charset.decode("latin-1").lower(), field=field)
    return None


def _decoded(name: bytes, charset: str, *, field: str) -> str:
    if charset not in _CHARSETS:
        raise InvalidText("The file name is in no known character set; send it in UTF-8.", field=field)
    return _text(name, what="The file name", field=field, charset=charset)


def _text(value: bytes, *, what: str, field: str | None = None, charset: str = "utf-8") -> str:
    try:
        text = value.decode(charset)
    except UnicodeDecodeError as error:
        raise InvalidText(f"{what} is not valid {charset.upper()}.", field=field) from error
    if "\0" in text:
        raise InvalidText(f"{what} has a NUL character.", field=field)
    return text
