"""A push parser that turns chunks of a `multipart/form-data` body into events.

Most of a form is usually one large file, in which only the next delimiter matters. StringZilla finds it in a quarter of
the time of `bytes.find`, and the data is passed on as views of the chunk. Only an incomplete header line, and what may
be the beginning of a delimiter, are copied and kept until the next chunk.

The events do not depend on how the body is split into chunks, except that data may come in more pieces. The parser does
not raise a fault of the body but keeps it, so that it is reported after the events that precede it. The end of the form
is an event, so that a truncated body is recognized.

The parser accepts what python-multipart accepts, whose own parser goes through a body byte by byte. Tests compare the
two; docs/decisions/0018-form-parser.md lists the differences.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum, auto

from python_multipart.multipart import MAX_BOUNDARY_LENGTH
from stringzilla import find

from recipe_api.errors import MalformedBody, NotMultipart, RequestRefused
from recipe_api.multipart.headers import PartHeaders, malformed, parse_common_headers, parse_headers, parse_parameters
from recipe_api.units import KIB, size_in_words

MAX_HEADERS = 8
"""Maximum number of headers of one part."""
MAX_HEADER_BYTES = 4 * KIB + 128
"""Maximum size of one header without its line break: a value of 4 KiB and a name."""
MAX_PADDING = 64
"""Maximum number of spaces and tabs after a delimiter (RFC 2046 §5.1.1). No client is known to send any."""
MAX_PREAMBLE_BYTES = 16 * KIB
"""Maximum size of the preamble, without blank lines. Mail libraries write a sentence there."""

_BOUNDARY = re.compile(rb"[ -~]{0,%d}[!-~]" % (MAX_BOUNDARY_LENGTH - 1))
_NO_LINE_BREAK = re.compile(rb"[^\r\n]")
_ENDING = re.compile(
    rb"(?P<part>[ \t]{0,%d}\r\n)|(?P<form>--)|(?P<open>(?:-|[ \t]{0,%d}\r?)\Z)|(?P<padding>[ \t])"
    % (MAX_PADDING, MAX_PADDING)
)
"""What must follow the bytes of a delimiter to make them one. `open` needs more bytes to decide."""
_LINE_END = re.compile(rb"\r\n(?=[^ \t])")
"""The end of a header. A line that begins with white space continues the previous one (RFC 5322 §2.2.3)."""
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A quoted string. An unclosed one extends to the end, so that no byte is examined twice."""
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): *+([^\r]*)")
"""A token (RFC 9110 §5.6.2) and a value. The possessive `*+` prevents quadratic time on a line of spaces."""
_SIMPLE_TYPE = re.compile(rf"multipart/form-data; boundary=([0-9A-Za-z'()+_,\-./:=?]{{1,{MAX_BOUNDARY_LENGTH}}})")
"""A `Content-Type` as nearly all clients send it, without quotes."""


class Mark(Enum):
    """The events that carry no data."""

    PART_END = auto()
    FORM_END = auto()


Event = PartHeaders | memoryview | Mark
"""A memoryview is data of the current part, as a view of the chunk."""


def parse_boundary(content_type: str | None) -> bytes:
    """Return the boundary that a `Content-Type` declares; the first if there are several.

    Raises:
        NotMultipart: The type is not `multipart/form-data`, or the boundary is missing or invalid (RFC 2046 §5.1.1).
    """
    if simple := _SIMPLE_TYPE.fullmatch(content_type or ""):
        return simple[1].encode("ascii")
    media_type, parameters = parse_parameters((content_type or "").encode("latin-1"))
    if media_type != b"multipart/form-data":
        raise NotMultipart("Send the form as multipart/form-data.")
    boundary = parameters.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise NotMultipart("The Content-Type has no valid boundary. Let your HTTP library set this header.")
    return boundary


class FormParser:
    """Parses one body; call `feed` with each chunk.

    The state is a function that continues at a position in the chunk and returns the position that it has reached.
    Bytes at the end of a chunk that cannot be classified yet are held and prepended to the next chunk.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._state: _State = FormParser._before_form  # unbound: a bound method would make a reference cycle
        self._held = b"\r\n"  # the line break of the first delimiter may be missing
        self._preamble: bytearray | None = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._events: list[Event] = []
        self.fault: RequestRefused | None = None
        """What is wrong with the body after the events so far: a `MalformedBody` if it violates RFC 2046 or RFC 7578,
        an `InvalidText` if a field name is not valid text."""

    def feed(self, chunk: bytes | memoryview) -> Sequence[Event]:
        """Return the events that `chunk` completes. If this sets `fault`, do not call it again.

        Args:
            chunk: Contiguous bytes that never change, because the events refer to them.
        """
        view, at = memoryview(chunk), 0
        try:
            while at < len(view):
                at = self._state(self, view, at)
        except RequestRefused as fault:
            self.fault = fault.with_traceback(None)  # a traceback would keep the chunk in memory
        events, self._events = self._events, []
        return events

    def truncated(self) -> MalformedBody:
        """Return the error for a body that ends here, before its closing boundary."""
        if self._preamble:
            self._preamble += self._held
            return self._no_boundary()
        if self._state is FormParser._in_headers and b"\n" in self._held[:-1]:
            return _bare_line_feeds()
        return MalformedBody("The body ends before the closing boundary of the form. Send the whole form.")

    def _before_form(self, view: memoryview, at: int) -> int:
        """Skip blank lines."""
        other = _NO_LINE_BREAK.search(view, at)
        if other is None:
            return len(view)
        self._state = FormParser._at_delimiter
        return other.start()

    def _at_delimiter(self, view: memoryview, at: int) -> int:
        """Handle what may turn out to be a delimiter, and may have begun in an earlier chunk."""
        seen, ending = self._delimiter_at(view, at)
        if ending is None:
            self._pass_on(memoryview(self._held))
            self._held, self._state = b"", FormParser._in_data
            return at
        if ending == "open":
            return self._hold(seen, view)
        self._end_part(ending)
        return self._consume(seen, at)

    def _end_part(self, ending: str) -> None:
        """End the part, or the preamble, before a delimiter with this ending, and choose the next state."""
        if ending == "padding":
            raise malformed("a boundary is followed by more than white space")
        if self._preamble is None:
            self._events.append(Mark.PART_END)
        elif self._preamble:
            self._check_preamble()
        self._preamble = None
        if ending == "form":
            self._events.append(Mark.FORM_END)
            self._state = FormParser._in_epilogue
        else:
            self._state = FormParser._in_headers

    def _in_headers(self, view: memoryview, at: int) -> int:
        """Parse the headers that are complete, and the empty line that ends them."""
        seen, start = self._look_ahead(view, at, MAX_HEADER_BYTES + 3), 0
        if not self._headers and (common := parse_common_headers(seen)):
            part, end = common
            return self._begin(part, seen[:end], at)
        while not (is_end := seen.startswith(b"\r\n", start)) and (line_end := _LINE_END.search(seen, start)):
            self._add_header(seen[start : line_end.start()])
            start = line_end.end()
        if is_end:
            part, self._headers = parse_headers(self._headers), {}
            return self._begin(part, seen[: start + 2], at)
        if start:
            return self._consume(seen[:start], at)  # so that the limit applies to each header, not to all
        if len(seen) == MAX_HEADER_BYTES + 3:
            if b"\n" in _QUOTED.sub(b"", seen.replace(b"\r\n", b"")):
                raise _bare_line_feeds()
            raise malformed(f"a part has a header of more than {size_in_words(MAX_HEADER_BYTES)}")
        return self._hold(seen, view)

    def _begin(self, part: PartHeaders, head: bytes, at: int) -> int:
        self._events.append(part)
        self._state = FormParser._in_data
        return self._consume(head, at)

    def _add_header(self, lines: bytes) -> None:
        line = lines.replace(b"\r\n", b"")
        if b"\n" in line and b"\n" in _QUOTED.sub(b"", line):  # a line feed inside quotes may be part of a file name
            raise _bare_line_feeds()
        header = _HEADER.fullmatch(line)
        if header is None:
            raise malformed("a part has a header that is not a name, a colon and a value")
        name = header[1].lower()
        if name in self._headers:
            raise malformed(f"a part has the header {header[1][:40].decode('ascii')} twice")
        if len(self._headers) == MAX_HEADERS:
            raise malformed(
                f"a part has more than {MAX_HEADERS} headers; it needs only Content-Disposition and Content-Type"
            )
        self._headers[name] = header[2]

    def _in_data(self, view: memoryview, at: int) -> int:
        """Pass on the data of a part, or skip the preamble."""
        end, ending = self._next_delimiter(view, at)
        if end > at:  # an empty view would look like the end of a file
            self._pass_on(view[at:end])
        if ending is not None and ending.lastgroup != "open":
            self._end_part(ending.lastgroup or "")
            return ending.end()
        if end < len(view):
            self._state = FormParser._at_delimiter
        return end

    def _pass_on(self, data: memoryview) -> None:
        if self._preamble is None:
            self._events.append(data)
            return
        room = MAX_PREAMBLE_BYTES + 2 - len(self._preamble)  # 2 for the line break that `_held` begins with
        self._preamble += data[:room]  # kept only to explain the error if no boundary follows
        if len(data) > room:
            raise self._no_boundary()

    def _check_preamble(self) -> None:
        """Reject a preamble that would be a part if its lines ended in CRLF, so that no part is skipped silently."""
        if self._has_line_feed_delimiter((self._preamble or b"") + b"\r\n"):
            raise _bare_line_feeds()

    def _has_line_feed_delimiter(self, preamble: bytes | bytearray) -> bool:
        return bool(re.search(rb"\n" + re.escape(self._delimiter[2:]) + rb"(?:--)?[ \t]*\r?\n", preamble))

    def _no_boundary(self) -> MalformedBody:
        if self._has_line_feed_delimiter(self._preamble or b""):
            return _bare_line_feeds()
        return malformed("it does not begin with the boundary that its Content-Type declares")

    def _in_epilogue(self, view: memoryview, _at: int) -> int:
        """Skip the epilogue (RFC 2046 §5.1.1)."""
        return len(view)

    def _next_delimiter(self, view: memoryview, at: int) -> tuple[int, re.Match[bytes] | None]:
        """Return the position of a delimiter, or of what may be the beginning of one; the end of the view if none.

        The match is what follows a delimiter; None if there is none or not even its own bytes are complete.
        """
        size = len(self._delimiter)
        place: int = find(view, self._delimiter, at)
        while place >= 0:
            if ending := _ENDING.match(view, place + size):
                return place, ending
            place = find(view, self._delimiter, place + size)
        tail = view[at:][1 - size :].tobytes()
        begun = tail.rfind(b"\r")  # the only CR in a delimiter is its first byte
        if begun >= 0 and self._delimiter.startswith(tail[begun:]):
            return len(view) - len(tail) + begun, None
        return len(view), None

    def _delimiter_at(self, view: memoryview, at: int) -> tuple[bytes, str | None]:
        """Return the delimiter at this position, as far as it has arrived, and its ending; None if it is not one."""
        size = len(self._delimiter)
        seen = self._look_ahead(view, at, size + MAX_PADDING + 2)
        ending = _ENDING.match(seen, size) if self._delimiter.startswith(seen[:size]) else None
        return (seen[: ending.end()], ending.lastgroup) if ending else (b"", None)

    def _look_ahead(self, view: memoryview, at: int, size: int) -> bytes:
        """Return up to `size` bytes: what is held, then the view from this position."""
        return self._held + view[at : at + size - len(self._held)]

    def _consume(self, seen: bytes, at: int) -> int:
        """Return the position after the bytes `seen`, which `_look_ahead` returned, and release the held ones."""
        place = at + len(seen) - len(self._held)
        self._held = b""
        return place

    def _hold(self, seen: bytes, view: memoryview) -> int:
        self._held = seen
        return len(view)


_State = Callable[[FormParser, memoryview, int], int]


def _bare_line_feeds() -> MalformedBody:
    return malformed("its lines end in LF; end them in CRLF")
