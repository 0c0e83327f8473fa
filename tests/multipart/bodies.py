"""Bodies of forms, built byte for byte and split anywhere, and their outcomes."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from itertools import pairwise

from recipe_api.errors import RecipeApiError
from recipe_api.multipart import FormRules, StreamingForm

BOUNDARY = b"----recipe-7MA4YWxk"
MAX_TEXT_BYTES = 64
MAX_FILE_BYTES = 4096
RULES = FormRules(
    text_fields={"label": str},
    file_fields=frozenset({"photo"}),
    max_parts=20,
    max_text_bytes=MAX_TEXT_BYTES,
    max_file_bytes=MAX_FILE_BYTES,
)


def part(headers: bytes, data: bytes = b"") -> bytes:
    """Return a part with these header lines, which CRLF separates."""
    return headers + b"\r\n\r\n" + data


def disposed(parameters: bytes, data: bytes = b"") -> bytes:
    """Return a part with one header, a `Content-Disposition` with these parameters."""
    return part(b"Content-Disposition: form-data; " + parameters, data)


def text(value: bytes, *, name: bytes = b"label") -> bytes:
    """Return a text field."""
    return disposed(b'name="' + name + b'"', value)


def file(data: bytes, *, name: bytes = b"photo", filename: bytes = b"pancakes.jpg") -> bytes:
    """Return a file field as browsers send it."""
    return part(
        b'Content-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: image/jpeg' % (name, filename), data
    )


def body(*parts: bytes, boundary: bytes = BOUNDARY, preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    """Return a body with these parts."""
    joined = b"".join(b"--%b\r\n%b\r\n" % (boundary, piece) for piece in parts)
    return preamble + joined + b"--%b--" % boundary + epilogue


def cut(whole: bytes, places: Iterable[int]) -> list[bytes]:
    """Split `whole` at these places."""
    inner = sorted({place % (len(whole) + 1) for place in places})
    bounds = [0, *inner, len(whole)]
    return [whole[start:end] for start, end in pairwise(bounds) if start < end]


class Wire:
    """A request body that arrives in pieces, one per read, and counts the reads."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.taken = 0

    async def chunks(self) -> AsyncGenerator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece


def form_of(*pieces: bytes, boundary: bytes = BOUNDARY, rules: FormRules = RULES) -> StreamingForm:
    """Return a form whose body arrives in these pieces."""
    return StreamingForm(Wire(pieces).chunks(), boundary=boundary, rules=rules)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a valid form."""

    label: str
    filename: str | None
    photo: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a form was rejected."""

    error: type[RecipeApiError]
    field: str | None


async def read(form: StreamingForm, *, read_size: int = -1) -> Fields:
    """Read a form as the service does: the photo, then the end, then the label."""
    upload = await form.file("photo")
    photo = await upload.read(read_size)
    while more := await upload.read(read_size):
        photo += more
    await form.finish()
    return Fields(form.text("label"), upload.filename, photo)


async def outcome(form: StreamingForm, *, read_size: int = -1) -> Fields | Refusal:
    """Read a form, and return its fields or why it was rejected. Any other error fails the test."""
    try:
        return await read(form, read_size=read_size)
    except RecipeApiError as error:
        return Refusal(type(error), error.field)
