"""The outcome does not depend on how a body is split into chunks, and a truncated body is never accepted."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.errors import FieldMissing, MalformedBody, TextTooLarge
from recipe_api.units import KIB, MIB
from tests.multipart.bodies import (
    BOUNDARY,
    MAX_TEXT_BYTES,
    RULES,
    Fields,
    Refusal,
    body,
    cut,
    disposed,
    file,
    form_of,
    outcome,
    part,
    text,
)
from tests.support.examples import examples

# RFC 2046 §5.1.1: bcharsnospace, of which a boundary has up to 70.
_BOUNDARY_CHARACTERS = "0123456789ABCXYZabcxyz'()+_,-./:=?"
_PLACES = st.lists(st.integers(min_value=0, max_value=20_000), max_size=12)
_boundaries = st.just(BOUNDARY) | st.text(_BOUNDARY_CHARACTERS, min_size=1, max_size=70).map(str.encode)


@dataclass(frozen=True, slots=True)
class Sent:
    """A form as a client sends it, and its fields."""

    boundary: bytes
    whole: bytes
    says: Fields


def _data(boundary: bytes) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, with many near misses of the boundary."""
    delimiter = b"\r\n--" + boundary
    look_alikes = st.integers(1, len(delimiter) - 1).map(lambda length: delimiter[:length]) | st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"--", delimiter[1:], delimiter[2:], b"\r\r\n--", b"Content-Disposition:"]
    )
    pieces = st.lists(st.binary(max_size=200) | look_alikes, max_size=8).map(b"".join)
    return pieces.filter(lambda data: _may_hold(data, boundary))


def _may_hold(data: bytes, boundary: bytes) -> bool:
    delimiter = b"\r\n--" + boundary
    return (data + delimiter).index(delimiter) == len(data)


@st.composite
def _forms(draw: st.DrawFn) -> Sent:
    boundary = draw(_boundaries)
    label = draw(st.text(max_size=MAX_TEXT_BYTES // 4).filter(lambda label: _may_hold(label.encode(), boundary)))
    plain = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\')
    filename = draw(st.text(plain, max_size=40))
    photo = draw(_data(boundary))
    extras = [text(value, name=b"extra") for value in draw(st.lists(_data(boundary), max_size=4))]
    parts = draw(st.permutations([text(label.encode()), file(photo, filename=filename.encode()), *extras]))
    whole = body(
        *parts,
        boundary=boundary,
        preamble=draw(
            st.sampled_from([b"", b"\r\n", b"\r\n\r\n"])
            | _data(boundary).filter(lambda data: b"--" + boundary not in data).map(lambda data: data + b"\r\n")
        ),
        epilogue=draw(st.just(b"\r\n") | st.binary(max_size=40)),
    )
    return Sent(boundary, whole, Fields(label, filename, photo))


@given(sent=_forms(), places=_PLACES, read_size=st.sampled_from([-1, 1, 7, 4096]))
@settings(max_examples=examples(200))
async def test_every_split_of_a_form_gives_the_same_fields_and_bytes(
    sent: Sent, places: list[int], read_size: int
) -> None:
    form = form_of(*cut(sent.whole, places), boundary=sent.boundary)
    assert await outcome(form, read_size=read_size) == sent.says


@given(sent=_forms())
@settings(max_examples=examples(30))
async def test_a_form_that_arrives_byte_by_byte_gives_the_same_result(sent: Sent) -> None:
    form = form_of(*cut(sent.whole, range(len(sent.whole))), boundary=sent.boundary)
    assert await outcome(form) == sent.says


@pytest.mark.parametrize("boundary", [b"b", BOUNDARY, b"b" * 70], ids=["short", "usual", "longest"])
async def test_a_delimiter_is_found_anywhere_in_a_large_chunk(boundary: bytes) -> None:
    noise = Random(1).randbytes(256 * KIB).replace(b"\r", b"\n")  # noqa: S311 - no secret
    rules = replace(RULES, max_file_bytes=MIB)
    places = [*range(200), *range(1000, 256 * KIB, 997), *range(256 * KIB - 200, 256 * KIB)]
    for place in places:
        head, tail = body(file(noise), boundary=boundary), body(text(b"Pancakes"), boundary=boundary)
        start = head.index(noise) + 100
        chunks = head[:start], noise[100:place] + b"\r\n" + tail
        form = form_of(*chunks, boundary=boundary, rules=rules)
        assert await outcome(form) == Fields("Pancakes", "pancakes.jpg", noise[: max(100, place)])


@pytest.mark.parametrize("pad", [0, 1, 2, 100])
async def test_a_delimiter_is_found_if_a_chunk_ends_within_it(pad: int) -> None:
    head, tail = body(file(b"y"), text(b"Pancakes")).split(b"\r\n--" + BOUNDARY + b"\r\n", 1)
    delimiter = b"\r\n--" + BOUNDARY
    for length in range(1, len(delimiter) + 1):
        begun, rest = delimiter[:length], delimiter[length:]
        form = form_of(head, b"y" * pad + begun, rest + b"\r\n" + tail)
        assert await outcome(form) == Fields("Pancakes", "pancakes.jpg", b"y" * (1 + pad)), length


async def test_an_empty_chunk_has_no_effect() -> None:
    whole = body(text(b"Pancakes"), file(b"y" * 200))
    pieces = [piece for chunk in cut(whole, range(0, len(whole), 9)) for piece in (chunk, b"")]
    upload = await form_of(*pieces).file("photo")
    photo = b""
    while view := await upload.read_view():
        photo += view
    assert photo == b"y" * 200


_LABEL, _PHOTO = text(b"Pancakes"), file(b"\xff\xd8\xff\r\n--\r\nphoto")


@pytest.mark.parametrize(
    "parts",
    [(_LABEL, _PHOTO), (_PHOTO, _LABEL), (text(b"x", name=b"more"), _LABEL, _PHOTO, text(b"", name=b"last"))],
    ids=["label first", "photo first", "extra fields around"],
)
async def test_a_body_truncated_at_any_byte_is_rejected(parts: tuple[bytes, ...]) -> None:
    whole = body(*parts, epilogue=b"")
    for length in range(len(whole)):
        assert await outcome(form_of(whole[:length])) == Refusal(MalformedBody, None), length
    assert isinstance(await outcome(form_of(whole)), Fields)


@pytest.mark.parametrize("epilogue", [b"", b"\r", b"\r\n", b"\r\nThe end.\r\n", b"\r\n" + body(_LABEL)])
async def test_bytes_after_the_closing_boundary_are_ignored(epilogue: bytes) -> None:
    whole = body(_LABEL, _PHOTO, epilogue=epilogue)
    for pieces in ([whole], cut(whole, range(len(whole)))):
        assert isinstance(await outcome(form_of(*pieces)), Fields)


@pytest.mark.parametrize(
    ("preamble", "taken"),
    [
        (b"\r\n", True),
        (b"\r\n\r\n", True),
        (b"This is a message with multiple parts in MIME format.\r\n", True),
        (b"\r\nHello\r\n\r\n", True),
        (b"--" + BOUNDARY + b"x\r\n", True),
        (b"Hello\n", False),
        (b"\r\nHello\n--" + BOUNDARY + b"\r\n", False),
    ],
)
async def test_a_preamble_is_ignored_if_it_ends_in_a_line_break(preamble: bytes, *, taken: bool) -> None:
    whole = body(_LABEL, _PHOTO, preamble=preamble)
    for pieces in ([whole], cut(whole, range(len(whole)))):
        assert await outcome(form_of(*pieces)) == (
            Fields("Pancakes", "pancakes.jpg", b"\xff\xd8\xff\r\n--\r\nphoto")
            if taken
            else Refusal(MalformedBody, None)
        )


_FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"--",
        b"--" + BOUNDARY,
        b"\r\n--" + BOUNDARY,
        b"\r\n--" + BOUNDARY + b"--",
        b"--" + BOUNDARY + b"\r\n",
        b"\r\n--" + BOUNDARY + b"\r\n",
        b"\r\n--" + BOUNDARY + b" \t\r\n",
        b"Content-Disposition: form-data; ",
        b"Content-Disposition:",
        b"Content-Type: image/jpeg\r\n",
        b"Content-Type: text/plain; charset=utf-16\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"\r\n ",
        text(b"latin1", name=b"_charset_"),
        b'name="label"',
        b'name="photo"; filename="a.jpg"',
        b"; filename*=utf-8''%e2%82%ac.jpg",
        b": ",
        b"x" * (MAX_TEXT_BYTES + 1),
        _LABEL,
        _PHOTO,
        text(b"\xed\xa0\x80"),
        disposed(b"name"),
    ]
)
_BABBLE = st.lists(_FRAGMENTS | st.binary(max_size=30), max_size=14).map(b"".join)


@given(whole=st.binary(max_size=300) | _BABBLE | _BABBLE.map(body), places=_PLACES)
@settings(max_examples=examples(400))
async def test_any_body_has_the_same_outcome_however_it_is_split_and_raises_only_our_errors(
    whole: bytes, places: list[int]
) -> None:
    expected = await outcome(form_of(whole))
    assert await outcome(form_of(*cut(whole, places))) == expected
    assert await outcome(form_of(*cut(whole, range(len(whole))))) == expected


@pytest.mark.parametrize(
    "later", [b"no header\r\r", part(b"X: y\r\nX: y"), text(b"", name=b"\xff")], ids=["syntax", "twice", "no text"]
)
async def test_an_error_does_not_hide_an_earlier_one(later: bytes) -> None:
    whole = body(text(b"x" * (MAX_TEXT_BYTES + 1)), later)
    for pieces in ([whole], cut(whole, range(len(whole)))):
        assert await outcome(form_of(*pieces)) == Refusal(TextTooLarge, "label")


async def test_a_form_without_parts_lacks_its_fields() -> None:
    assert await outcome(form_of(body())) == Refusal(FieldMissing, "photo")
