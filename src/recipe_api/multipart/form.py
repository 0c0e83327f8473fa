"""One form, read part by part as it arrives, its fields in any order.

What the rules refuse is refused at the first byte that shows it: a repeated field when its second part begins, a text
when its last byte (or the first too many) is there. A form counts as whole only when its closing boundary *and* the
end of the body have been seen.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from recipe_api.asgi import NO_WINDOW, Window
from recipe_api.errors import (
    FieldMissing,
    FieldRepeated,
    FieldUnexpected,
    InvalidText,
    MalformedBody,
    PhotoTooLarge,
    RequestRefused,
    TextTooLarge,
    TooManyParts,
)
from recipe_api.multipart.file import NOTHING, WireFile
from recipe_api.multipart.parser import Event, EventParser, Mark, PartBegin
from recipe_api.settings import MIB, PART_SIZE

SOCKET_BYTES = 6 * MIB
"""What a socket takes before anybody reads it: the bound of Linux, unless `net.ipv4.tcp_rmem` says otherwise."""
UNREAD_BYTES = SOCKET_BYTES + PART_SIZE
"""What may have been sent and not reached the form: what a socket takes, and what is read ahead into a part's room."""
AWAITED_SECONDS = 0.1
"""A chunk that took longer to come was not in the socket but with the client, and so were all behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRules:
    """What a form may hold. Text fields beyond these are passed over; files beyond these are refused."""

    texts: Mapping[str, Callable[[str], str]]
    """Text fields by name, each with the check that its value must pass: it returns the value or raises."""
    files: frozenset[str]
    """Names of the file fields."""
    max_parts: int
    max_text_bytes: int
    """Bytes of one text field."""
    max_file_bytes: int
    """Bytes of one file."""


class WireForm:
    """A form that is fed from the wire.

    `await form.file(name)` reads on to a file, `await form.finish()` to the end, `form.text(name)` gives a text field.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes | memoryview],
        *,
        boundary: bytes,
        rules: FormRules,
        announced: int | None = None,
        window: Window = NO_WINDOW,
    ) -> None:
        self.window = window
        """To be widened by the room for the file's bytes, into which the source of the chunks may read ahead."""
        self.announced = announced
        """Bytes of the whole body, where its headers say so; no more can come."""
        self._clock = asyncio.get_running_loop().time
        self.sent_at = self._clock() if announced is not None and announced <= SOCKET_BYTES else None
        """Since when the client may have sent its last byte, in the loop's time; None where it surely has not. It moves
        on while the client is waited for."""
        self._left = inf if announced is None else announced
        self._chunks = chunks
        self._parser = EventParser(boundary)
        self._events: deque[Event | RequestRefused] = deque()
        self._rules = rules
        self._seen: set[str] = set()
        self._parts = 0
        self._texts: dict[str, str] = {}
        self._file_bytes = 0
        self._file_name = ""

    def text(self, name: str) -> str:
        """The value of a text field that has been read.

        Raises:
            FieldMissing: The form has none of this name.
        """
        if name not in self._texts:
            raise FieldMissing(f"The form has no field {name}.", field=name)
        return self._texts[name]

    async def file(self, name: str) -> WireFile:
        """Reads on until the file `name` begins.

        Raises:
            FieldMissing: The form ends before.
            RequestRefused: The form breaks a rule or a limit on the way.
        """
        while (event := await self._next_event()) is not Mark.FORM_END:
            if isinstance(event, PartBegin) and await self._begin(event) and event.name == name:
                self._file_name, self._file_bytes = name, 0
                return WireFile(self._read_file_chunk, filename=event.filename or "")
        raise FieldMissing(f"The form has no file {name}.", field=name)

    async def finish(self) -> float:
        """Reads to the end of the form and of the body; both must be there. Answers with `sent_at`.

        Raises:
            RequestRefused: The form breaks a rule or a limit, or is cut short.
        """
        while (event := await self._next_event()) is not Mark.FORM_END:
            if isinstance(event, PartBegin):
                await self._begin(event)
        with suppress(StopAsyncIteration):
            while True:
                await self._next_chunk()  # an epilogue (RFC 2046 §5.1.1) says nothing; the source bounds it
        if self.sent_at is None:
            self.sent_at = self._clock()
        return self.sent_at

    async def close(self) -> None:
        """Lets go of what was not read. A failure holds on to the form, and a form to the failure that it told."""
        self._events.clear()
        await self._chunks.aclose()

    async def _begin(self, part: PartBegin) -> bool:
        """Checks a part that begins; True when it is a file to be read, False when it was a text and is read."""
        self._parts += 1
        if self._parts > self._rules.max_parts:
            raise TooManyParts(f"A form may have at most {self._rules.max_parts} parts.")
        name, is_file = part.name, part.filename is not None
        if name in self._seen:
            raise FieldRepeated(f"The field {name} was sent twice; send it once.", field=name)
        if is_file and name not in self._rules.files:
            files = " or ".join(sorted(self._rules.files))
            wanted = (
                "must be text, not a file" if name in self._rules.texts else f"is no field here; name a file {files}"
            )
            raise FieldUnexpected(f"The field {name} {wanted}.", field=name)
        if not is_file and name in self._rules.files:
            raise FieldUnexpected(f"The field {name} must be a file, sent with a file name.", field=name)
        if is_file or name in self._rules.texts:
            self._seen.add(name)
        if name in self._rules.texts:
            self._texts[name] = self._rules.texts[name](await self._read_text(name))
        return is_file

    async def _read_text(self, name: str) -> str:
        value = bytearray()
        while isinstance(event := await self._next_event(), memoryview):
            value += event
            if len(value) > self._rules.max_text_bytes:
                raise TextTooLarge(
                    f"{name} may have at most {self._rules.max_text_bytes} bytes; shorten it.", field=name
                )
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidText(f"{name} is not valid UTF-8.", field=name) from error

    async def _read_file_chunk(self) -> memoryview:
        event = await self._peek()
        if not isinstance(event, memoryview):
            return NOTHING  # the part's end stays, so that reading on says it again
        self._events.popleft()
        self._file_bytes += len(event)
        if self._file_bytes > self._rules.max_file_bytes:
            raise PhotoTooLarge(
                f"{self._file_name} may have at most {self._rules.max_file_bytes} bytes; send a smaller one.",
                field=self._file_name,
            )
        return event

    async def _next_event(self) -> Event:
        event = await self._peek()
        if event is not Mark.FORM_END:  # which stays, as a fault does: whoever asks again is told again
            self._events.popleft()
        return event

    async def _next_chunk(self) -> bytes | memoryview:
        began = self._clock()
        chunk = await anext(self._chunks)
        now = self._clock()
        self._left -= len(chunk)
        if self.sent_at is not None and now - began < AWAITED_SECONDS:
            self.sent_at += now - began
        elif self._left <= UNREAD_BYTES:
            self.sent_at = now
        return chunk

    async def _peek(self) -> Event:
        while not self._events:
            try:
                chunk = await self._next_chunk()
            except StopAsyncIteration:
                raise MalformedBody("The body ends before the closing boundary of its form.") from None
            self._events.extend(self._parser.feed(chunk))
        event = self._events[0]
        if isinstance(event, RequestRefused):
            raise event
        return event
