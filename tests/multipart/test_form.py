"""A form: which fields it may have, how large, and that what is too much is refused when it is, not later."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace

import pytest

from recipe_api.errors import (
    ClientDisconnected,
    FieldEmpty,
    FieldMissing,
    FieldRepeated,
    FieldUnexpected,
    InvalidText,
    MalformedBody,
    PhotoTooLarge,
    RecipeApiError,
    TextTooLarge,
    TooManyParts,
)
from recipe_api.multipart import WireForm
from tests.multipart.bodies import (
    BOUNDARY,
    MAX_FILE_BYTES,
    MAX_TEXT_BYTES,
    RULES,
    Fields,
    Refusal,
    Wire,
    body,
    file,
    form_of,
    outcome,
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
async def test_a_form_that_is_not_as_it_should_be_is_refused_by_the_field_at_fault(
    parts: list[bytes], error: type[RecipeApiError], field: str
) -> None:
    assert await outcome(form_of(body(*parts))) == Refusal(error, field)


async def test_a_check_of_a_text_may_change_it_or_refuse_it() -> None:
    def shout(value: str) -> str:
        if not value:
            raise FieldEmpty("label is empty.", field="label")
        return value.upper()

    rules = replace(RULES, texts={"label": shout})
    assert await outcome(form_of(body(LABEL, PHOTO), rules=rules)) == Fields(
        "PANCAKES", "pancakes.jpg", b"\xff\xd8\xff"
    )
    assert await outcome(form_of(body(text(b""), PHOTO), rules=rules)) == Refusal(FieldEmpty, "label")


async def test_text_fields_that_nobody_knows_are_passed_over_however_large_and_often() -> None:
    unknown = text(b"x" * 100_000, name=b"comment")
    got = await outcome(form_of(body(unknown, LABEL, unknown, PHOTO, unknown)))
    assert got == Fields("Pancakes", "pancakes.jpg", b"\xff\xd8\xff")


@pytest.mark.parametrize("over", [0, 1])
async def test_a_label_may_have_its_limit_and_not_a_byte_more(over: int) -> None:
    label = "ä" * (MAX_TEXT_BYTES // 2) + "x" * over
    got = await outcome(form_of(body(text(label.encode()), PHOTO)))
    assert got == (Refusal(TextTooLarge, "label") if over else Fields(label, "pancakes.jpg", b"\xff\xd8\xff"))


def _endless(opening: bytes, allowed: int) -> Iterator[bytes]:
    """A part that comes to its limit, then goes beyond it byte by byte and never ends."""
    yield b"--%b\r\n%b" % (BOUNDARY, opening)
    yield b"x" * allowed
    while True:
        yield b"x"


@pytest.mark.parametrize(
    ("opening", "allowed", "error"),
    [(file(b""), MAX_FILE_BYTES, PhotoTooLarge), (text(b""), MAX_TEXT_BYTES, TextTooLarge)],
    ids=["photo", "label"],
)
async def test_what_is_over_its_limit_is_refused_at_the_first_byte_too_many(
    opening: bytes, allowed: int, error: type[RecipeApiError]
) -> None:
    wire = Wire(_endless(opening, allowed))
    form = WireForm(wire.chunks(), boundary=BOUNDARY, rules=RULES)
    got = await outcome(form)
    assert isinstance(got, Refusal)
    assert got.error is error
    assert wire.taken == 3


async def test_a_photo_of_exactly_its_limit_is_taken() -> None:
    photo = b"x" * MAX_FILE_BYTES
    assert await outcome(form_of(body(file(photo), LABEL))) == Fields("Pancakes", "pancakes.jpg", photo)


async def test_a_repeated_field_is_refused_when_its_second_part_begins() -> None:
    wire = Wire([body(LABEL, PHOTO)[: -len(b"--\r\n")], b"\r\n" + text(b""), b"its value, and no end"])
    got = await outcome(WireForm(wire.chunks(), boundary=BOUNDARY, rules=RULES))
    assert got == Refusal(FieldRepeated, "label")
    assert wire.taken == 2


@pytest.mark.parametrize("over", [0, 1])
async def test_a_form_may_have_so_many_parts_and_not_one_more(over: int) -> None:
    extras = [text(b"", name=b"x")] * (RULES.max_parts - 2 + over)
    got = await outcome(form_of(body(*extras, LABEL, PHOTO)))
    assert isinstance(got, Refusal if over else Fields)


async def test_ten_thousand_parts_are_refused_by_their_number() -> None:
    whole = body(*[text(b"", name=b"x")] * 10_000)
    assert await outcome(form_of(whole)) == Refusal(TooManyParts, None)


async def test_a_form_that_has_ended_says_the_same_when_it_is_asked_again() -> None:
    form = form_of(body(LABEL, text(b"", name=b"x")))
    for _ in range(2):
        with pytest.raises(FieldMissing, match="no file photo"):
            await form.file("photo")
    for _ in range(2):
        await form.finish()
    assert form.text("label") == "Pancakes"


async def test_a_fault_is_told_again_to_whoever_goes_on() -> None:
    form = form_of(body(LABEL, b"no colon\r\n\r\n", PHOTO))
    for _ in range(2):
        with pytest.raises(MalformedBody):
            await form.file("photo")
    with pytest.raises(MalformedBody):
        await form.finish()


async def test_a_text_is_there_once_it_was_read_and_not_before() -> None:
    form = form_of(body(PHOTO, LABEL))
    await form.file("photo")
    with pytest.raises(FieldMissing, match="no field label"):
        form.text("label")
    await form.finish()
    assert form.text("label") == "Pancakes"


async def test_finishing_reads_to_the_end_of_the_body_and_not_only_of_the_form() -> None:
    wire = Wire([body(LABEL, PHOTO), b"an epilogue", b"in pieces"])
    assert isinstance(await outcome(WireForm(wire.chunks(), boundary=BOUNDARY, rules=RULES)), Fields)
    assert wire.taken == 3


async def test_a_client_that_goes_away_after_the_form_and_before_the_end_of_the_body_is_told_of() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        yield body(LABEL, PHOTO)
        raise ClientDisconnected("The client went away.")

    assert await outcome(WireForm(chunks(), boundary=BOUNDARY, rules=RULES)) == Refusal(ClientDisconnected, None)


async def test_a_form_can_be_finished_though_its_file_was_not_read() -> None:
    form = form_of(body(LABEL, PHOTO))
    await form.file("photo")
    await form.finish()
    assert form.text("label") == "Pancakes"
