"""What a body comes to: by our parser, in chunks, and by python-multipart's, which goes through it byte by byte."""

from collections.abc import Iterable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from recipe_api.errors import MalformedBody, RequestRefused
from recipe_api.multipart.parser import Event, EventParser, Mark, PartBegin, _part_begin

Told = PartBegin | Mark | bytes | tuple[type[RequestRefused], str, str | None]
"""An event, where data is bytes and no longer in pieces, and a fault is its class, detail and field."""


def told(chunks: Iterable[bytes | memoryview], *, boundary: bytes) -> list[Told]:
    """What our parser tells of a body that comes in these chunks."""
    parser = EventParser(boundary)
    events: list[Event | RequestRefused] = []
    for chunk in chunks:
        events += parser.feed(chunk)
        if events and isinstance(events[-1], RequestRefused):
            break
    return _joined(events)


def expected(body: bytes, *, boundary: bytes) -> list[Told]:
    """What python-multipart tells of it, read whole. Of line breaks before the form it is told nothing: it would take
    any text behind one, as far as a chunk goes.
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
    try:
        parser.write(body.lstrip(b"\r\n"))
    except FormParserError as error:
        oracle.events.append(MalformedBody(str(error)))
    except RequestRefused as error:
        oracle.events.append(error)
    return _joined(oracle.events)


def outcome(told: list[Told]) -> list[object]:
    """The events, and of a fault its class alone: that a body has come to no end is one as well, and which of the two
    is told depends on how soon a parser looks.
    """
    if told and isinstance(told[-1], tuple):
        return [*told[:-1], told[-1][0]]
    return list(told) if Mark.FORM_END in told else [*told, MalformedBody]


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
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        self.events.append(_part_begin(self._headers.get(b"content-disposition", b"")))
        self._headers = {}

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(memoryview(data)[start:end])


def _joined(events: Iterable[Event | RequestRefused]) -> list[Told]:
    joined: list[Told] = []
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
