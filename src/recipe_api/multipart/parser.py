"""Chunks of a body in, events out, by searching: for the delimiter in the data of a part, for line ends in its headers.

Nearly all of a form is one photo, and there is nothing to do in it but to look for the delimiter. StringZilla looks in
a quarter of the time of `bytes.find`, and data is given out where it arrived. What is copied, and held until the next
chunk comes, is a line of a part's headers or what may be the beginning of a delimiter.

However a body is cut into chunks, its events are the same, save that data may be in more pieces. A fault in the body is
an event as well, the last one: what stands before it is judged before it. So is the end of the form, without which a
body that was cut short would look like one that is whole.

The rules are python-multipart's, whose own parser goes through a form state by state and byte by byte; tests hold the
two to the same events (docs/decisions/0018-form-parser.md tells where they differ). Its `parse_options_header` reads
the header values that are not written as nearly all clients write them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import MAX_BOUNDARY_LENGTH, parse_options_header
from stringzilla import find

from recipe_api.errors import InvalidText, MalformedBody, NotMultipart, RequestRefused
from recipe_api.settings import KIB

MAX_HEADERS = 8
"""Headers of one part."""
MAX_HEADER_BYTES = 4 * KIB + 128
"""Bytes of one header without its line end: a value of 4 KiB, and its name."""
MAX_PADDING = 64
"""Bytes of white space behind a delimiter. Nobody is known to send any."""

_BOUNDARY = re.compile(rb"[ -~]{0,%d}[!-~]" % (MAX_BOUNDARY_LENGTH - 1))
_NO_LINE_BREAK = re.compile(rb"[^\r\n]")
_ENDING = re.compile(
    rb"(?P<part>[ \t]{0,%d}\r\n)|(?P<form>--)|(?P<open>(?:-|[ \t]{0,%d}\r?)\Z)|(?P<padding>[ \t])"
    % (MAX_PADDING, MAX_PADDING)
)
"""What follows a delimiter; what is followed by none of it only looks like one. `open` wants bytes that are to come."""
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): *+([^\r]*)")
"""A token (RFC 9110 §5.6.2) and a value. `*+` gives nothing back, so that a line of spaces is not tried at each one."""
_SIMPLE_TYPE = re.compile(rf"multipart/form-data; boundary=([0-9A-Za-z'()+_,\-./:=?]{{1,{MAX_BOUNDARY_LENGTH}}})")
"""A `Content-Type` as nearly all clients write it, with nothing to unquote."""
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
"""A view is data of the part that began last, where the chunk has it."""


def boundary_of(content_type: str | None) -> bytes:
    """The boundary that a `Content-Type` announces.

    Raises:
        NotMultipart: It is no `multipart/form-data`, or names no usable boundary (RFC 2046 §5.1.1).
    """
    if simple := _SIMPLE_TYPE.fullmatch(content_type or ""):
        return simple[1].encode("ascii")
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data":
        raise NotMultipart("Send the form as multipart/form-data, with the fields label and photo.")
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise NotMultipart("The Content-Type names no usable boundary; let your client set this header itself.")
    return boundary


class EventParser:
    """One body's parser; `feed` it chunk by chunk.

    Its state is the function that reads on from a place in the chunk and returns the place that it came to. What cannot
    be judged at the end of a chunk is held, and stands before the next one.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._state: _State = EventParser._before_form  # not a bound method: that would be a cycle for the collector
        self._held = b"\r\n"  # the first delimiter's line break need not be sent
        self._headers: dict[bytes, bytes] = {}
        self._events: list[Event | RequestRefused] = []

    def feed(self, chunk: bytes | memoryview) -> Sequence[Event | RequestRefused]:
        """The events that `chunk` completes; after an error among them, feed no more.

        A view must be one of contiguous bytes, and they must stay as they are: data is given out as views of them.

        A `MalformedBody` says that the bytes break the rules of RFC 2046 or RFC 7578, an `InvalidText` that the name of
        a field or a file is not valid text.
        """
        view, at = memoryview(chunk), 0
        try:
            while at < len(view):
                at = self._state(self, view, at)
        except RequestRefused as fault:
            self._events.append(fault.with_traceback(None))  # which would keep the chunk
        events, self._events = self._events, []
        return events

    def _before_form(self, view: memoryview, at: int) -> int:
        """Line breaks may come before the first delimiter, and nothing else."""
        other = _NO_LINE_BREAK.search(view, at)
        if other is None:
            return len(view)
        self._state = EventParser._at_first_delimiter
        return other.start()

    def _at_first_delimiter(self, view: memoryview, at: int) -> int:
        seen, ending = self._delimiter_at(view, at)
        if ending is None:
            raise _malformed("it does not begin with the boundary that its Content-Type names")
        return self._go_on(ending, seen, view, at)

    def _at_delimiter(self, view: memoryview, at: int) -> int:
        """At one that was found, or at what may become one and began in a chunk before."""
        seen, ending = self._delimiter_at(view, at)
        if ending is None:
            self._events.append(memoryview(self._held))
            self._held, self._state = b"", EventParser._in_data
            return at
        if ending in {"part", "form"}:
            self._events.append(Mark.PART_END)
        return self._go_on(ending, seen, view, at)

    def _go_on(self, ending: str, seen: bytes, view: memoryview, at: int) -> int:
        """Into what a delimiter opens, once that is all there."""
        if ending == "open":
            return self._hold(seen, view)
        if ending == "padding":
            raise _malformed("a boundary is followed by more than white space")
        if ending == "form":
            self._events.append(Mark.FORM_END)
            self._state = EventParser._in_epilogue
        else:
            self._state = EventParser._in_headers
        return self._past(seen, at)

    def _in_headers(self, view: memoryview, at: int) -> int:
        """As many lines as the longest one could take; the last of them may be the empty one that ends them."""
        seen, start = self._ahead(view, at, MAX_HEADER_BYTES + 2), 0
        while (end := seen.find(b"\r\n", start)) > start:
            self._add_header(seen[start:end])
            start = end + 2
        if end == start:
            self._events.append(_part_begin(self._headers.get(b"content-disposition", b"")))
            self._headers, self._state = {}, EventParser._in_data
            return self._past(seen[: end + 2], at)
        if start:
            return self._past(seen[:start], at)  # a line is measured from its own start
        if len(seen) == MAX_HEADER_BYTES + 2:
            raise _malformed(f"a part has a header of more than {MAX_HEADER_BYTES} bytes")
        return self._hold(seen, view)

    def _add_header(self, line: bytes) -> None:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise _malformed("a part has a header that is no name and value")
        name = header[1].lower()
        if name in self._headers:
            raise _malformed("a part has the same header twice")
        if len(self._headers) == MAX_HEADERS:
            raise _malformed(f"a part has more than {MAX_HEADERS} headers")
        self._headers[name] = header[2]

    def _in_data(self, view: memoryview, at: int) -> int:
        end = self._next_delimiter(view, at)
        if end > at:  # an empty view would pass for a file's end
            self._events.append(view[at:end])
        if end < len(view):
            self._state = EventParser._at_delimiter
        return end

    def _in_epilogue(self, view: memoryview, _at: int) -> int:
        """Behind the closing delimiter nothing says anything (RFC 2046 §5.1.1)."""
        return len(view)

    def _next_delimiter(self, view: memoryview, at: int) -> int:
        """Where a delimiter stands, or may have begun where the view ends; that end, where there is none."""
        size = len(self._delimiter)
        place: int = find(view, self._delimiter, at)
        while place >= 0 and not _ENDING.match(view, place + size):
            place = find(view, self._delimiter, place + size)
        if place >= 0:
            return place
        tail = view[at:][1 - size :].tobytes()
        begun = tail.rfind(b"\r")  # the only CR of a delimiter is its first byte
        if begun >= 0 and self._delimiter.startswith(tail[begun:]):
            return len(view) - len(tail) + begun
        return len(view)

    def _delimiter_at(self, view: memoryview, at: int) -> tuple[bytes, str | None]:
        """The delimiter that comes next, as far as it is there, and how it ends; None says that it is none."""
        size = len(self._delimiter)
        seen = self._ahead(view, at, size + MAX_PADDING + 2)
        ending = _ENDING.match(seen, size) if self._delimiter.startswith(seen[:size]) else None
        return (seen[: ending.end()], ending.lastgroup) if ending else (b"", None)

    def _ahead(self, view: memoryview, at: int, size: int) -> bytes:
        """The next `size` bytes, or as many as there are: what is held, then the view from this place on."""
        return self._held + view[at : at + size - len(self._held)]

    def _past(self, seen: bytes, at: int) -> int:
        """The place behind what was seen ahead. That is done with, and so is what was held of it."""
        place = at + len(seen) - len(self._held)
        self._held = b""
        return place

    def _hold(self, seen: bytes, view: memoryview) -> int:
        self._held = seen
        return len(view)


_State = Callable[[EventParser, memoryview, int], int]


def _malformed(reason: str) -> MalformedBody:
    return MalformedBody(f"The multipart body is malformed: {reason}.")


def _part_begin(disposition: bytes) -> PartBegin:
    if simple := _SIMPLE.fullmatch(disposition):
        named, filename = simple.groups()
    else:
        # parse_options_header speaks latin-1, the wire UTF-8 (RFC 7578 §5.1): bytes go in and come out unchanged.
        kind, options = parse_options_header(disposition.decode("latin-1"))
        if kind != b"form-data" or not options.get(b"name"):
            raise _malformed("a part has no Content-Disposition with a name")
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
        # Without its traceback, which would keep the chunk, as in `feed`.
        raise InvalidText(f"{what} is not valid {charset.upper()}.", field=field) from error.with_traceback(None)
    if "\0" in text:
        raise InvalidText(f"{what} has a NUL character.", field=field)
    return text
