"""Forms: their fields and sizes, and that each limit is enforced as soon as it is exceeded."""

from base64 import encodebytes
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

import pytest

from recipe_api.errors import (
    ClientDisconnected,
    FieldEmpty,
    FieldMissing,
    FieldRepeated,
    FieldUnexpected,
    FileTooLarge,
    InvalidText,
    MalformedBody,
    RecipeApiError,
    TextTooLarge,
    TooManyParts,
    UnsupportedFile,
)
from recipe_api.multipart import StreamingForm
from recipe_api.multipart.text import MAX_EXPANSION
from tests.multipart.bodies import (
    BOUNDARY,
    MAX_FILE_BYTES,
    MAX_TEXT_BYTES,
    RULES,
    Fields,
    Refusal,
    Wire,
    body,
    cut,
    file,
    form_of,
    outcome,
    part,
    read,
    text,
)

LABEL = text(b"Pancakes")
PHOTO = file(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("parts", "error", "field"),
    [
        ([LABEL], FieldMissing, "photo"),
        ([PHOTO], FieldMissing, "label"),
        ([LABEL, LABEL, PHOTO], FieldRepeated, "label"),
        ([LABEL, PHOTO, LABEL], FieldRepeated, "label"),
        ([PHOTO, LABEL, PHOTO], FieldRepeated, "photo"),
        ([PHOTO, PHOTO, LABEL], FieldRepeated, "photo"),
        ([PHOTO, text(b"a.jpg", name=b"photo"), LABEL], FieldRepeated, "photo"),
        ([text(b"a.jpg", name=b"photo"), LABEL], FieldUnexpected, "photo"),
        ([file(b"Pancakes", name=b"label"), PHOTO], FieldUnexpected, "label"),
        ([LABEL, file(b"MZ", name=b"virus"), PHOTO], FieldUnexpected, "virus"),
        ([LABEL, PHOTO, file(b"MZ", name=b"virus")], FieldUnexpected, "virus"),
        ([text(b"caf\xe9"), PHOTO], InvalidText, "label"),
        ([text(b"\xed\xa0\x80"), PHOTO], InvalidText, "label"),  # half of a surrogate pair, as CESU-8 writes it
        ([text(b"\xc0\x80"), PHOTO], InvalidText, "label"),  # NUL, as Java writes it
    ],
    ids=[
        "no photo",
        "no label",
        "label twice",
        "label before and after",
        "photo before and after",
        "photo twice",
        "photo as a file, then as text",
        "photo as text",
        "label as a file",
        "unknown file before",
        "unknown file after",
        "label in Latin-1",
        "label with a surrogate",
        "label in overlong UTF-8",
    ],
)
async def test_an_invalid_form_is_rejected_and_the_field_named(
    parts: list[bytes], error: type[RecipeApiError], field: str
) -> None:
    assert await outcome(form_of(body(*parts))) == Refusal(error, field)


async def test_a_check_may_change_or_reject_a_text() -> None:
    def shout(value: str) -> str:
        if not value:
            raise FieldEmpty("label is empty.", field="label")
        return value.upper()

    rules = replace(RULES, text_fields={"label": shout})
    assert await outcome(form_of(body(LABEL, PHOTO), rules=rules)) == Fields(
        "PANCAKES", "pancakes.jpg", b"\xff\xd8\xff"
    )
    assert await outcome(form_of(body(text(b""), PHOTO), rules=rules)) == Refusal(FieldEmpty, "label")


async def test_unknown_text_fields_are_ignored_whatever_their_size_and_number() -> None:
    unknown = text(b"x" * 100_000, name=b"comment")
    got = await outcome(form_of(body(unknown, LABEL, unknown, PHOTO, unknown)))
    assert got == Fields("Pancakes", "pancakes.jpg", b"\xff\xd8\xff")


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_of_a_label_is_exact(over: int) -> None:
    label = "ä" * (MAX_TEXT_BYTES // 2) + "x" * over
    got = await outcome(form_of(body(text(label.encode()), PHOTO)))
    assert got == (Refusal(TextTooLarge, "label") if over else Fields(label, "pancakes.jpg", b"\xff\xd8\xff"))


def _endless(opening: bytes, allowed: int) -> Iterator[bytes]:
    """Yield a part that reaches its limit, then continues byte by byte and never ends."""
    yield b"--%b\r\n%b" % (BOUNDARY, opening)
    yield b"x" * allowed
    while True:
        yield b"x"


@pytest.mark.parametrize(
    ("opening", "allowed", "error"),
    [(file(b""), MAX_FILE_BYTES, FileTooLarge), (text(b""), MAX_TEXT_BYTES, TextTooLarge)],
    ids=["photo", "label"],
)
async def test_a_field_is_rejected_at_the_first_byte_beyond_its_limit(
    opening: bytes, allowed: int, error: type[RecipeApiError]
) -> None:
    wire = Wire(_endless(opening, allowed))
    form = StreamingForm(wire.chunks(), boundary=BOUNDARY, rules=RULES)
    got = await outcome(form)
    assert isinstance(got, Refusal)
    assert got.error is error
    assert wire.taken == 3


async def test_a_photo_of_exactly_the_limit_is_accepted() -> None:
    photo = b"x" * MAX_FILE_BYTES
    assert await outcome(form_of(body(file(photo), LABEL))) == Fields("Pancakes", "pancakes.jpg", photo)


async def test_a_repeated_field_is_rejected_when_its_second_part_begins() -> None:
    wire = Wire([body(LABEL, PHOTO)[: -len(b"--\r\n")], b"\r\n" + text(b""), b"its value, and no end"])
    got = await outcome(StreamingForm(wire.chunks(), boundary=BOUNDARY, rules=RULES))
    assert got == Refusal(FieldRepeated, "label")
    assert wire.taken == 2


@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_on_parts_is_exact(over: int) -> None:
    extras = [text(b"", name=b"x")] * (RULES.max_parts - 2 + over)
    got = await outcome(form_of(body(*extras, LABEL, PHOTO)))
    assert isinstance(got, Refusal if over else Fields)


async def test_ten_thousand_parts_are_rejected() -> None:
    whole = body(*[text(b"", name=b"x")] * 10_000)
    assert await outcome(form_of(whole)) == Refusal(TooManyParts, None)


async def test_reading_a_finished_form_again_gives_the_same_result() -> None:
    form = form_of(body(LABEL, text(b"", name=b"x")))
    for _ in range(2):
        with pytest.raises(FieldMissing, match="no file photo"):
            await form.file("photo")
    for _ in range(2):
        await form.finish()
    assert form.text("label") == "Pancakes"


async def test_an_error_is_raised_again_if_reading_continues() -> None:
    form = form_of(body(LABEL, b"no colon\r\n\r\n", PHOTO))
    for _ in range(2):
        with pytest.raises(MalformedBody):
            await form.file("photo")
    with pytest.raises(MalformedBody):
        await form.finish()


async def test_a_text_is_available_once_it_was_read() -> None:
    form = form_of(body(PHOTO, LABEL))
    await form.file("photo")
    with pytest.raises(FieldMissing, match="no field label"):
        form.text("label")
    await form.finish()
    assert form.text("label") == "Pancakes"


async def test_finishing_reads_to_the_end_of_the_body() -> None:
    wire = Wire([body(LABEL, PHOTO), b"an epilogue", b"in pieces"])
    assert isinstance(await outcome(StreamingForm(wire.chunks(), boundary=BOUNDARY, rules=RULES)), Fields)
    assert wire.taken == 3


async def test_a_disconnect_between_the_form_and_the_end_of_the_body_is_reported() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        yield body(LABEL, PHOTO)
        raise ClientDisconnected("The client went away.")

    assert await outcome(StreamingForm(chunks(), boundary=BOUNDARY, rules=RULES)) == Refusal(ClientDisconnected, None)


async def test_a_form_can_be_finished_without_reading_its_file() -> None:
    form = form_of(body(LABEL, PHOTO))
    await form.file("photo")
    await form.finish()
    assert form.text("label") == "Pancakes"


def _photo_part(headers: bytes, data: bytes = b"\xff\xd8\xff") -> bytes:
    return part(b'Content-Disposition: form-data; name="photo"' + headers, data)


@pytest.mark.parametrize("content_type", [b"image/*", b"image/jpeg", b"IMAGE/JPEG", b"application/octet-stream"])
async def test_a_photo_with_a_media_type_and_no_file_name_is_a_file(content_type: bytes) -> None:
    photo = _photo_part(b"\r\nContent-Type: " + content_type)
    for parts in ([LABEL, photo], [photo, LABEL]):
        assert await outcome(form_of(body(*parts))) == Fields("Pancakes", "", b"\xff\xd8\xff")


@pytest.mark.parametrize("headers", [b"", b"\r\nContent-Type: text/plain", b"\r\nContent-Type:", b"\r\nX: image/jpeg"])
async def test_a_photo_without_a_file_name_that_may_be_text_is_rejected(headers: bytes) -> None:
    assert await outcome(form_of(body(LABEL, _photo_part(headers)))) == Refusal(FieldUnexpected, "photo")


async def test_a_text_field_with_a_media_type_stays_text() -> None:
    label = part(b'Content-Disposition: form-data; name="label"\r\nContent-Type: application/json', b"Soup")
    more = part(b'Content-Disposition: form-data; name="more"\r\nContent-Type: image/jpeg', b"x")
    assert await outcome(form_of(body(more, label, PHOTO))) == Fields("Soup", "pancakes.jpg", b"\xff\xd8\xff")


@pytest.mark.parametrize("encoding", [b"binary", b"8bit", b"7BIT", b" binary ", b""])
async def test_a_photo_may_declare_that_it_is_not_encoded(encoding: bytes) -> None:
    photo = _photo_part(b'; filename="a.jpg"\r\nContent-Transfer-Encoding: ' + encoding)
    assert await outcome(form_of(body(LABEL, photo))) == Fields("Pancakes", "a.jpg", b"\xff\xd8\xff")


@pytest.mark.parametrize("encoding", [b"base64", b"Base64", b"quoted-printable", b"x-uuencode", b"gzip"])
async def test_a_photo_with_a_transfer_encoding_is_rejected(encoding: bytes) -> None:
    photo = _photo_part(b'; filename="a.jpg"\r\nContent-Transfer-Encoding: ' + encoding)
    with pytest.raises(UnsupportedFile, match=f"Content-Transfer-Encoding: {encoding.decode()}\\.") as caught:
        await form_of(body(LABEL, photo)).file("photo")
    assert caught.value.field == "photo"


def _charset(name: bytes) -> bytes:
    return text(name, name=b"_charset_")


@pytest.mark.parametrize(
    ("parts", "label"),
    [
        ([_charset(b"windows-1252"), text(b"Cr\xeapes")], "Crêpes"),
        ([_charset(b"Shift_JIS"), text("日本".encode("shift_jis"))], "日本"),
        ([_charset(b"UTF-8"), text("Crêpes".encode())], "Crêpes"),
        ([_charset(b""), text("Crêpes".encode())], "Crêpes"),
        ([text("Crêpes".encode()), _charset(b"utf-8")], "Crêpes"),
        ([text(b"Pancakes"), _charset(b"windows-1252")], "Pancakes"),
        (
            [
                _charset(b"windows-1252"),
                part(
                    b'Content-Disposition: form-data; name="label"\r\nContent-Type: text/plain; charset=utf-8',
                    "Crêpes".encode(),
                ),
            ],
            "Crêpes",
        ),
    ],
)
async def test_a_form_may_declare_the_charset_of_its_texts(parts: list[bytes], label: str) -> None:
    assert await outcome(form_of(body(*parts, PHOTO))) == Fields(label, "pancakes.jpg", b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([_charset(b"klingon"), LABEL], "_charset_"),
        ([_charset(b"zlib"), LABEL], "_charset_"),
        ([text("Crêpes".encode()), _charset(b"windows-1252")], "_charset_"),
        ([_charset(b"windows-1251"), text(b"\x98")], "label"),
    ],
)
async def test_a_charset_that_is_unknown_wrong_or_too_late_is_rejected(parts: list[bytes], field: str) -> None:
    assert await outcome(form_of(body(*parts, PHOTO))) == Refusal(InvalidText, field)


async def test_a_form_may_declare_its_charset_only_once() -> None:
    whole = body(_charset(b"utf-8"), _charset(b"utf-8"), LABEL, PHOTO)
    assert await outcome(form_of(whole)) == Refusal(FieldRepeated, "_charset_")


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-32", "iso-8859-1", "iso-2022-jp"])
async def test_the_limit_of_an_encoded_label_applies_to_its_utf_8(charset: str, over: int) -> None:
    label = "x" * (MAX_TEXT_BYTES + over)
    declared = part(
        b'Content-Disposition: form-data; name="label"\r\nContent-Transfer-Encoding: base64\r\n'
        b"Content-Type: text/plain; charset=" + charset.encode(),
        encodebytes(label.encode(charset)).replace(b"\n", b"\r\n"),
    )
    whole = body(declared, PHOTO)
    for pieces in ([whole], cut(whole, range(len(whole)))):
        expected = Refusal(TextTooLarge, "label") if over else Fields(label, "pancakes.jpg", b"\xff\xd8\xff")
        assert await outcome(form_of(*pieces)) == expected


@pytest.mark.parametrize(
    "headers",
    [b"", b"\r\nContent-Type: text/plain; charset=UTF-16", b"\r\nContent-Transfer-Encoding: quoted-printable"],
)
async def test_an_endless_encoded_label_is_rejected_at_its_encoded_limit(headers: bytes) -> None:
    opening = part(b'Content-Disposition: form-data; name="label"' + headers)
    allowed = MAX_TEXT_BYTES * (MAX_EXPANSION if headers else 1)
    wire = Wire(_endless(opening, allowed))
    assert await outcome(StreamingForm(wire.chunks(), boundary=BOUNDARY, rules=RULES)) == Refusal(TextTooLarge, "label")
    assert wire.taken == 3


async def test_an_unknown_encoding_is_rejected_before_the_value_arrives() -> None:
    opening = part(b'Content-Disposition: form-data; name="label"\r\nContent-Transfer-Encoding: x-uuencode')
    wire = Wire(_endless(opening, 1))
    assert await outcome(StreamingForm(wire.chunks(), boundary=BOUNDARY, rules=RULES)) == Refusal(InvalidText, "label")
    assert wire.taken == 1


async def test_errors_give_limits_in_readable_units() -> None:
    rules = replace(RULES, max_file_bytes=100_000, max_text_bytes=64 * 1024)
    with pytest.raises(FileTooLarge, match=r"The field photo may have at most 100 kB\. Send a smaller file\."):
        await read(form_of(body(LABEL, file(bytes(100_001))), rules=rules))
    with pytest.raises(TextTooLarge, match=r"The field label may have at most 64 KiB\. Shorten it\."):
        await read(form_of(body(text(bytes(65_537)), PHOTO), rules=rules))
