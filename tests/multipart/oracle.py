"""The events of a body: from our parser, in chunks, and from python-multipart's, which works byte by byte."""

import re
from collections.abc import Iterable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from recipe_api.errors import MalformedBody, RequestRefused
from recipe_api.multipart.headers import PartHeaders, parse_headers
from recipe_api.multipart.parser import MAX_PREAMBLE_BYTES, Event, FormParser, Mark

Recorded = PartHeaders | Mark | bytes | tuple[type[RequestRefused], str, str | None]
"""An event: data is joined into bytes, and an error is its class, detail and field."""


def parse(chunks: Iterable[bytes | memoryview], *, boundary: bytes) -> list[Recorded]:
    """Return the events of our parser for a body that arrives in these chunks; the last is the error of a truncated
    body.
    """
    parser = FormParser(boundary)
    events: list[Event] = []
    for chunk in chunks:
        events += parser.feed(chunk)
        if parser.fault:
            return _joined([*events, parser.fault])
    return _joined(events if Mark.FORM_END in events else [*events, parser.truncated()])


def first_delimiter(body: bytes, *, boundary: bytes) -> re.Match[bytes] | None:
    """Return the delimiter after which a form begins; it may be followed by more white space than a form allows."""
    form = b"\r\n" + body.lstrip(b"\r\n")
    return re.compile(rb"\r\n--" + re.escape(boundary) + rb"(?:--|(?P<padding>[ \t])|\r\n)").search(form)


def expected(body: bytes, *, boundary: bytes) -> list[Recorded]:
    """Return the events of python-multipart, which reads the body whole and without its preamble: how much of one it
    accepts depends on where a chunk ends.
    """
    oracle = _Oracle()
    parser = MultipartParser(
        boundary,
        {
            "on_header_field": oracle.on_header_field,
            "on_header_value": oracle.on_header_value,
            "on_header_end": oracle.on_header_end,
            "on_headers_finished": oracle.on_headers_finished,
            "on_part_data": oracle.on_part_data,
            "on_part_end": lambda: oracle.events.append(Mark.PART_END),
            "on_end": lambda: oracle.events.append(Mark.FORM_END),
        },
    )
    first = first_delimiter(body, boundary=boundary)
    if first is None or first.start() > MAX_PREAMBLE_BYTES:
        return _joined([MalformedBody("no boundary")])
    line = rb"\n--" + re.escape(boundary) + rb"(?:--)?[ \t]*\r?\n"
    if re.search(line, first.string[: first.start() + 2]):
        return _joined([MalformedBody("line feeds")])  # our rule, so that no part is mistaken for a preamble
    try:
        parser.write(first.string[first.start() + 2 :])
    except FormParserError as error:
        oracle.events.append(MalformedBody(str(error)))
    except RequestRefused as error:
        oracle.events.append(error)
    return _joined(oracle.events)


def outcome(recorded: list[Recorded]) -> list[object]:
    """Return the events, with an error reduced to its class. A truncated body is an error as well: which of two
    errors is reported depends on how early a parser looks.
    """
    if recorded and isinstance(recorded[-1], tuple):
        return [*recorded[:-1], recorded[-1][0]]
    return list(recorded) if Mark.FORM_END in recorded else [*recorded, MalformedBody]


class _Oracle:
    def __init__(self) -> None:
        self.events: list[Event | RequestRefused] = []
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() in self._headers:
            raise MalformedBody("twice")
        if b"\n" in re.sub(rb'(?s)"(?:[^"\\]|\\.)*+"', b"", self._value):
            raise MalformedBody("a line feed")  # our rule, so that the cause is named
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        self.events.append(parse_headers(self._headers))
        self._headers = {}

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(memoryview(data)[start:end])


def _joined(events: Iterable[Event | RequestRefused]) -> list[Recorded]:
    joined: list[Recorded] = []
    for event in events:
        if isinstance(event, RequestRefused):
            joined.append((type(event), event.detail, event.field))
        elif not isinstance(event, memoryview):
            joined.append(event)
        elif joined and isinstance(joined[-1], bytes):
            joined[-1] += event
        else:
            joined.append(bytes(event))
    return joined
