"""A form that is read while it arrives, part by part, with its fields in any order.

A violation is reported as early as possible: a repeated field when its second part begins, an invalid text once it is
complete, an oversized field at the first excess byte. A form is complete only after its closing boundary *and* the end
of the body.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from recipe_api.errors import (
    FieldMissing,
    FieldRepeated,
    FieldUnexpected,
    FileTooLarge,
    InvalidText,
    TextTooLarge,
    TooManyParts,
    UnsupportedFile,
)
from recipe_api.multipart.charsets import is_known
from recipe_api.multipart.file import EMPTY, StreamingFile
from recipe_api.multipart.headers import PartHeaders, printable
from recipe_api.multipart.parser import Event, FormParser, Mark
from recipe_api.multipart.text import UTF_8, declared_encoding, is_unencoded
from recipe_api.units import size_in_words

CHARSET_FIELD = "_charset_"
"""The field that names the default charset of the form (RFC 7578 §4.6); browsers fill it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRules:
    """What a form may contain. Unknown text fields are ignored, unknown files are rejected."""

    text_fields: Mapping[str, Callable[[str], str]]
    """Text fields by name, each with a validator, which returns the value or raises."""
    file_fields: frozenset[str]
    """Names of the file fields."""
    max_parts: int
    max_text_bytes: int
    """Maximum size of one text field, in UTF-8."""
    max_file_bytes: int
    """Maximum size of one file."""


class StreamingForm:
    """A form that is still arriving.

    `await form.file(name)` reads up to a file, `await form.finish()` reads to the end, and `form.text(name)` returns a
    text field that has been read.

    Args:
        chunks: The request body. Views among the chunks must never change.
        boundary: The boundary that the Content-Type header declares.
        rules: What the form may contain.
    """

    def __init__(self, chunks: AsyncGenerator[bytes | memoryview], *, boundary: bytes, rules: FormRules) -> None:
        self._chunks = chunks
        self._parser = FormParser(boundary)
        self._events: deque[Event] = deque()
        self._rules = rules
        self._seen: set[str] = set()
        self._parts = 0
        self._texts: dict[str, str] = {}
        self._charset = "utf-8"
        self._decoded_by_default = ""
        """The first text field that was decoded with the default charset and would differ in another."""
        self._file_bytes = 0
        self._file_name = ""

    def text(self, name: str) -> str:
        """Return the value of a text field that has been read.

        Raises:
            FieldMissing: The form has no text field of this name.
        """
        if name not in self._texts:
            raise FieldMissing(f"The form has no field {name}. Add it.", field=name)
        return self._texts[name]

    async def file(self, name: str) -> StreamingFile:
        """Read up to the beginning of the file `name`.

        Raises:
            FieldMissing: The form has no file of this name.
            RequestRefused: The form violates a rule or a limit.
        """
        while (event := await self._next_event()) is not Mark.FORM_END:
            if isinstance(event, PartHeaders) and await self._start_part(event) and event.name == name:
                self._file_name, self._file_bytes = name, 0
                return StreamingFile(self._read_file_chunk, filename=event.filename or "")
        raise FieldMissing(f"The form has no file {name}. Add it.", field=name)

    async def finish(self) -> None:
        """Read to the end of the form and of the body.

        Raises:
            RequestRefused: The form violates a rule or a limit, or is truncated.
        """
        while (event := await self._next_event()) is not Mark.FORM_END:
            if isinstance(event, PartHeaders):
                await self._start_part(event)
        async for _ in self._chunks:
            pass  # an epilogue is ignored (RFC 2046 §5.1.1); the reader of the body limits its size

    async def close(self) -> None:
        """Release what was not read. The form and an error that it has raised refer to each other."""
        self._events.clear()
        self._parser.fault = None
        await self._chunks.aclose()

    async def _start_part(self, part: PartHeaders) -> bool:
        """Check the headers of a part, and read it if it is text; return whether it is a file."""
        self._parts += 1
        if self._parts > self._rules.max_parts:
            raise TooManyParts(f"A form may have at most {self._rules.max_parts} parts. Send only the required fields.")
        name, rules = part.name, self._rules
        is_file = part.filename is not None or (name in rules.file_fields and part.is_declared_binary)
        if name in self._seen:
            raise FieldRepeated(f"The form has more than one field {name}. Send it once.", field=name)
        self._check_kind(part, is_file=is_file)
        if is_file or name in rules.text_fields or name == CHARSET_FIELD:
            self._seen.add(name)
        if name in rules.text_fields:
            self._texts[name] = rules.text_fields[name](await self._read_text(part))
        elif name == CHARSET_FIELD:
            self._set_charset(await self._read_text(part))
        return is_file

    def _check_kind(self, part: PartHeaders, *, is_file: bool) -> None:
        """Check that a file has the name of a file field and is not encoded, and that a text is not a file field."""
        name, rules = part.name, self._rules
        if is_file and name in rules.text_fields:
            raise FieldUnexpected(f"The field {name} is a file. Send it as text.", field=name)
        if is_file and name not in rules.file_fields:
            files = " or ".join(sorted(rules.file_fields))
            raise FieldUnexpected(
                f"The form has a file in the unknown field {printable(name)}. Send it as {files}.", field=name
            )
        if not is_file and name in rules.file_fields:
            raise FieldUnexpected(
                f"The field {name} is text. Send it as a file, with a file name or a binary Content-Type.", field=name
            )
        if is_file and not is_unencoded(part.transfer_encoding):
            raise UnsupportedFile(
                f"The field {name} has Content-Transfer-Encoding: {printable(part.transfer_encoding)}. Send the file's"
                " own bytes, without this header.",
                field=name,
            )

    def _set_charset(self, value: str) -> None:
        """Set the default charset of the text fields that follow, from the value of `_charset_`."""
        charset = value.strip().lower()
        if not charset or charset == self._charset:  # empty if no browser filled it in
            return
        if not is_known(charset):
            raise InvalidText(
                f"{CHARSET_FIELD} names the unknown charset {printable(charset)}. Send UTF-8.", field=CHARSET_FIELD
            )
        if self._decoded_by_default:
            raise InvalidText(
                f"{CHARSET_FIELD} follows {self._decoded_by_default}. Send it first, or send UTF-8.",
                field=CHARSET_FIELD,
            )
        self._charset = charset

    async def _read_text(self, part: PartHeaders) -> str:
        """Read and decode a text field. Its size is limited both as encoded and in UTF-8."""
        is_bare = not (part.content_type or part.transfer_encoding) and self._charset == "utf-8"
        encoding = UTF_8 if is_bare else declared_encoding(part, default_charset=self._charset)
        limit, value = self._rules.max_text_bytes, bytearray()
        expansion = encoding.max_expansion
        while isinstance(event := await self._next_event(), memoryview):
            value += event
            if len(value) > limit * expansion:
                raise self._text_too_large(part.name)
        text = encoding.decode(bytes(value), field=part.name)
        if expansion > 1 and len(text.encode("utf-8")) > limit:
            raise self._text_too_large(part.name)
        if not (encoding.declared_in or self._decoded_by_default or text.isascii()):
            self._decoded_by_default = part.name
        return text

    def _text_too_large(self, name: str) -> TextTooLarge:
        return TextTooLarge(
            f"The field {name} may have at most {size_in_words(self._rules.max_text_bytes)}. Shorten it.", field=name
        )

    async def _read_file_chunk(self) -> memoryview:
        if not self._events:
            await self._receive()
        event = self._events[0]
        if not isinstance(event, memoryview):
            return EMPTY  # the event stays queued, so that further reads return the same
        self._events.popleft()
        self._file_bytes += len(event)
        if self._file_bytes > self._rules.max_file_bytes:
            limit = size_in_words(self._rules.max_file_bytes)
            raise FileTooLarge(
                f"The field {self._file_name} may have at most {limit}. Send a smaller file.", field=self._file_name
            )
        return event

    async def _next_event(self) -> Event:
        if not self._events:
            await self._receive()
        event = self._events[0]
        if event is not Mark.FORM_END:  # it stays queued, so that further calls return it
            self._events.popleft()
        return event

    async def _receive(self) -> None:
        """Read chunks until there is an event. Raise a fault in the body once all events before it are taken."""
        while not self._events:
            if self._parser.fault is not None:
                raise self._parser.fault
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                raise self._parser.truncated() from None
            self._events.extend(self._parser.feed(chunk))
