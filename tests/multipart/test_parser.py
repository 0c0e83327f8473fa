"""The parser: valid and malformed headers and bodies, and its use of memory and time."""

import gc
import string
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, parse_options_header
from stringzilla import find

from recipe_api.errors import InvalidText, MalformedBody, NotMultipart, RecipeApiError
from recipe_api.multipart import parse_boundary
from recipe_api.multipart.headers import PartHeaders
from recipe_api.multipart.parser import MAX_HEADER_BYTES, MAX_PADDING, MAX_PREAMBLE_BYTES, FormParser, Mark
from recipe_api.units import KIB
from tests.multipart.bodies import BOUNDARY, Fields, Refusal, body, cut, file, form_of, outcome, part, text
from tests.multipart.oracle import parse
from tests.support.examples import examples

LABEL = text(b"Pancakes")
PHOTO = file(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ("Multipart/Form-Data;BOUNDARY=abc", b"abc"),
        ('multipart/form-data; boundary="abc"', b"abc"),
        ('multipart/form-data; boundary="a;b = c"', b"a;b = c"),
        ("multipart/form-data; charset=utf-8; boundary=abc", b"abc"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
            b"----WebKitFormBoundary7MA4YWxkTrZu0gW",
        ),
        ("multipart/form-data; boundary=" + "a" * 70, b"a" * 70),
        ("multipart/form-data; boundary='()+_,-./:=?", b"'()+_,-./:=?"),
        ("multipart/form-data; boundary=abc; boundary=xyz", b"abc"),
        ('multipart/form-data; boundary="abc"; boundary=xyz', b"abc"),
        ('multipart/form-data; boundary="abc" "', b"abc"),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str, boundary: bytes) -> None:
    assert parse_boundary(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        ";",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="ends in a space "',
        "multipart/form-data; boundary=\xe4\xf6\xfc",
        'multipart/form-data; boundary="a\tb"',
        "multipart/form-data; boundary=" + "a" * 257,
        "multipart/form-data; border=abc",
        "multipart/mixed; boundary=abc",
        "application/x-www-form-urlencoded",
        "image/jpeg; boundary=abc",
    ],
)
def test_a_content_type_without_a_usable_boundary_is_rejected(content_type: str | None) -> None:
    with pytest.raises(NotMultipart):
        parse_boundary(content_type)


@given(st.text(string.ascii_letters + string.digits + "'()+_,-./:=?", min_size=1, max_size=MAX_BOUNDARY_LENGTH))
def test_an_unquoted_boundary_is_read_as_by_python_multipart(boundary: str) -> None:
    content_type = f"multipart/form-data; boundary={boundary}"
    assert parse_boundary(content_type) == parse_options_header(content_type)[1][b"boundary"]


@given(
    st.text(st.characters(max_codepoint=255))
    | st.binary().map(lambda tail: "multipart/form-data;" + tail.decode("latin-1"))
)
@settings(max_examples=examples(200))
def test_no_content_type_raises_another_error(content_type: str) -> None:
    with suppress(NotMultipart):
        assert parse_boundary(content_type)


async def test_a_body_with_another_boundary_is_rejected() -> None:
    whole = body(LABEL, PHOTO, boundary=b"another")
    assert await outcome(form_of(whole)) == Refusal(MalformedBody, None)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Type: text/plain",
        b"",
        b"Content-Disposition: form-data",
        b"Content-Disposition: form-data; filename=a.jpg",
        b"Content-Disposition: form-data; name",
        b'Content-Disposition: form-data; name=""',
        b'Content-Disposition: attachment; name="label"',
        b'Content-Disposition: form-data; name="label"\r\nContent-Disposition: form-data; name="photo"',
        b'Content-Disposition: form-data; name="label"\r\ncontent-type: a/b\r\nContent-Type: a/b',
        b"Content-Disposition : form-data; name=label",
        b": form-data",
        b"no colon",
        b'Content-Disposition: form-data; name="label"\rX: y',
    ],
)
async def test_a_part_with_malformed_headers_is_rejected(headers: bytes) -> None:
    assert await outcome(form_of(body(part(headers, b"x"), PHOTO))) == Refusal(MalformedBody, None)


def _with_headers(*more: bytes) -> bytes:
    return body(part(b"\r\n".join([b"Content-Disposition: form-data; name=label", *more]), b"Pancakes"), PHOTO)


@pytest.mark.parametrize(("more", "taken"), [(7, True), (8, False)])
async def test_a_part_may_have_eight_headers(more: int, taken: bool) -> None:  # noqa: FBT001 - a column
    whole = _with_headers(*[b"X-%d: y" % number for number in range(more)])
    assert isinstance(await outcome(form_of(whole)), Fields if taken else Refusal)


@pytest.mark.parametrize("header", [b"X-Long: " + b"y" * 2**20, b"X" * 2**20 + b": y"], ids=["value", "name"])
async def test_a_header_of_a_mebibyte_is_rejected_before_it_has_arrived(header: bytes) -> None:
    whole = _with_headers(header)
    assert await outcome(form_of(whole)) == Refusal(MalformedBody, None)
    assert await outcome(form_of(whole[:5000])) == Refusal(MalformedBody, None)
    assert await outcome(form_of(whole[:5000], b"?" * 100)) == Refusal(MalformedBody, None)


_PLAIN = st.binary(max_size=20).filter(lambda value: not set(value) & set(b'\r"'))


@given(name=_PLAIN, filename=st.none() | _PLAIN, data=st.binary(max_size=5))
@settings(max_examples=examples(200))
async def test_the_fast_path_for_a_common_disposition_gives_the_same_result(
    name: bytes, filename: bytes | None, data: bytes
) -> None:
    parameters = b'name="%b"' % name + (b"" if filename is None else b'; filename="%b"' % filename)
    usual, other = (
        body(part(b"Content-Disposition: %b; %b" % (kind, parameters), data), LABEL, PHOTO)
        for kind in (b"form-data", b"Form-Data")
    )
    assert await outcome(form_of(usual)) == await outcome(form_of(other))


@pytest.mark.parametrize("name", [b"\xff", b"\xed\xa0\x80", b"lab\0el"])
async def test_a_field_whose_name_is_not_text_is_rejected(name: bytes) -> None:
    assert await outcome(form_of(body(text(b"x", name=name), LABEL, PHOTO))) == Refusal(InvalidText, None)


@given(
    st.lists(
        st.sampled_from(
            [b"form-data", b"; ", b"name", b"filename", b"*", b"0", b"=", b'"', b"\\", b"'", b"utf-8''", b"%e4"]
        )
        | st.binary(max_size=8),
        max_size=20,
    ).map(b"".join)
)
@settings(max_examples=examples(200))
async def test_no_content_disposition_raises_another_error(disposition: bytes) -> None:
    whole = body(part(b"Content-Disposition: form-data; " + disposition.replace(b"\r", b""), b"x"), LABEL, PHOTO)
    assert isinstance(await outcome(form_of(whole)), Fields | Refusal)


def _with_header(line: bytes) -> bytes:
    return b"--%b\r\nContent-Disposition: form-data; name=label\r\n%b\r\n\r\nx\r\n" % (BOUNDARY, line)


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (body(LABEL, PHOTO).replace(b"\r\n", b"\n"), "lines end in LF;"),
        (b"A form, by mail.\n" + body(LABEL, PHOTO).replace(b"\r\n", b"\n"), "lines end in LF;"),
        (body(LABEL, file(bytes(MAX_PREAMBLE_BYTES))).replace(b"\r\n", b"\n"), "lines end in LF;"),
        (body(LABEL, PHOTO).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n", 1), "lines end in LF;"),
        (b"--" + BOUNDARY + b"\r\n" + LABEL.replace(b"\r\n", b"\n") + b"\n" * MAX_HEADER_BYTES, "lines end in LF;"),
        (_with_header(b"X-Note: one\nX-More: two"), "lines end in LF;"),
        (body(LABEL, PHOTO, boundary=b"another"), "does not begin with the boundary"),
        (b"Pancakes" * 10_000, "does not begin with the boundary"),
        (b"", "ends before the closing boundary"),
        (b"--" + BOUNDARY[:5], "ends before the closing boundary"),
        (body(LABEL)[:-5], "ends before the closing boundary"),
        (body(part(b'Content-Disposition: attachment; name="label"', b"x")), "attachment instead of form-data"),
        (body(part(b"Content-Disposition: " + b"x" * 99, b"x")), "x" * 40 + "… instead of form-data"),
        (body(part(b"Content-Disposition: form-data; filename=x", b"x")), "has no name"),
        (body(part(b"Content-Type: image/jpeg", b"x")), "has no Content-Disposition"),
        (body(part(b"\r\n".join(b"X-%d: y" % number for number in range(9)))), "more than 8 headers"),
        (_with_header(b"content-disposition: form-data"), "the header content-disposition twice"),
        (_with_header(b"X: " + b"y" * MAX_HEADER_BYTES), "a header of more than 4,224 bytes"),
        (_with_header(b"no colon"), "not a name, a colon and a value"),
        (b"--" + BOUNDARY + b" \t".ljust(99) + b"\r\n", "more than white space"),
    ],
)
def test_an_error_names_its_cause_however_the_body_is_split(sent: bytes, cause: str) -> None:
    whole = parse([sent], boundary=BOUNDARY)
    assert isinstance(whole[-1], tuple)
    assert whole[-1][0] is MalformedBody
    assert cause in whole[-1][1]
    assert parse(cut(sent, range(len(sent))), boundary=BOUNDARY) == whole
    for seed in range(20):
        places = Random(seed).choices(range(len(sent) + 1), k=5)  # noqa: S311 - no secret
        assert parse(cut(sent, places), boundary=BOUNDARY) == whole


@pytest.mark.timeout(20)  # seconds: a fraction of one if the work is linear, a minute if it is quadratic
def test_quotes_that_are_never_closed_are_read_once() -> None:
    unclosed = b'"\n"' + b'"' + b'\\"' * 2_000
    headers = [b"X-%d: %b" % (number, unclosed) for number in range(7)]
    parts = [part(b"\r\n".join([b"Content-Disposition: form-data; name=x", *headers]), b"y")] * 20
    FormParser(BOUNDARY).feed(body(*parts))


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize(
    "filler", [b"x", b"\r\n--", b"\r\n--" + BOUNDARY + b"x", b"\r", b"--" + BOUNDARY + b"\r\n"[:1]]
)
def test_a_preamble_is_ignored_up_to_its_limit_however_it_is_split(filler: bytes, over: int) -> None:
    preamble = b"x" + (filler * MAX_PREAMBLE_BYTES)[: MAX_PREAMBLE_BYTES - 1 + over]
    sent = preamble + b"\r\n" + body(LABEL, PHOTO)
    expected = parse([sent], boundary=BOUNDARY)
    assert (Mark.FORM_END in expected) is not bool(over)
    assert over or expected == parse([body(LABEL, PHOTO)], boundary=BOUNDARY)
    assert parse(cut(sent, range(len(sent))), boundary=BOUNDARY) == expected
    for step in (2, 7, len(BOUNDARY), 1000):
        assert parse(cut(sent, range(0, len(sent), step)), boundary=BOUNDARY) == expected


def test_a_form_within_the_preamble_is_not_read() -> None:
    inner = body(text(b"inner"), boundary=b"inner") + b"--" + BOUNDARY + b"-\r\n" + LABEL
    sent = inner + b"\r\n" + body(PHOTO)
    assert parse([sent], boundary=BOUNDARY) == parse([body(PHOTO)], boundary=BOUNDARY)


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b" \r\n \t \r\n "])
def test_folded_headers_are_unfolded_however_they_are_split(fold: bytes) -> None:
    head = b'Content-Disposition:%bform-data;%bname=photo;%bfilename=%b"a b.jpg"\r\nContent-Type:%bimage/jpeg'
    sent = body(part(head % ((fold,) * 5), b" x"))
    whole = parse([sent], boundary=BOUNDARY)
    begin = whole[0]
    assert isinstance(begin, PartHeaders)
    assert (begin.name, begin.filename, begin.content_type.strip()) == ("photo", "a b.jpg", b"image/jpeg")
    assert whole[1:] == [b" x", Mark.PART_END, Mark.FORM_END]
    for places in [range(len(sent)), *([place] for place in range(len(sent)))]:
        assert parse(cut(sent, places), boundary=BOUNDARY) == whole


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_a_folded_header_applies_to_all_its_lines(over: int) -> None:
    lines = b"X: y" + b"\r\n y" * MAX_HEADER_BYTES
    sent = _with_header(lines[:MAX_HEADER_BYTES] + b"y" * over) + body()
    assert (parse([sent], boundary=BOUNDARY)[-1] is Mark.FORM_END) is not bool(over)


def test_a_folded_first_line_is_rejected() -> None:
    sent = body(part(b" Content-Disposition: form-data; name=label", b"x"))
    assert parse([sent], boundary=BOUNDARY)[-1][0] is MalformedBody  # type: ignore[index]


DELIMITER = b"\r\n--" + BOUNDARY


def _amid_a_photo() -> FormParser:
    parser = FormParser(BOUNDARY)
    parser.feed(body(PHOTO)[: -len(DELIMITER + b"--\r\n")])
    return parser


@pytest.mark.parametrize(
    "parts",
    [[LABEL], [PHOTO], [], [b"no colon\r\n"], [text(b"", name=b"\xff")]],
    ids=["text", "file", "the end", "no header", "no text"],
)
def test_a_chunk_is_freed_with_its_events(parts: list[bytes]) -> None:
    # Created here, so that nothing else refers to them.
    chunk, another = (b"%c\r\n" % first + body(*parts) for first in b"xy")
    parser = _amid_a_photo()
    ended = Mark.FORM_END in parser.feed(chunk)
    assert ended or parser.fault
    assert sys.getrefcount(chunk) == sys.getrefcount(another)


def test_a_parser_is_freed_without_the_garbage_collector() -> None:
    parser = _amid_a_photo()
    gone = ref(parser)
    gc.disable()
    try:
        del parser
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_data_is_passed_on_without_a_copy(kind: type[bytes | bytearray]) -> None:
    parser = _amid_a_photo()
    chunk = kind(b"photo" + DELIMITER + b"\r\n" + PHOTO + DELIMITER[:-1])
    data = [event for event in parser.feed(memoryview(chunk)) if isinstance(event, memoryview)]
    assert data == [b"photo", b"\xff\xd8\xff"]
    assert all(view.obj is chunk for view in data)


def test_bytes_that_only_began_like_a_delimiter_come_before_the_following_bytes() -> None:
    parser = _amid_a_photo()
    chunks = [b"x" + DELIMITER, b"\r", b"y", DELIMITER[:9], DELIMITER + b"--"]
    events: list[list[object]] = [list(parser.feed(chunk)) for chunk in chunks]
    assert events == [[b"x"], [], [DELIMITER + b"\r", b"y"], [], [DELIMITER[:9], Mark.PART_END, Mark.FORM_END]]


def test_an_empty_view_causes_no_events() -> None:
    parser = _amid_a_photo()
    assert parser.feed(memoryview(b"")) == parser.feed(b"") == []


@pytest.mark.parametrize("begun", [b"", b"--" + BOUNDARY + b"\r\n" + LABEL + b"\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("over", [0, 1])
def test_white_space_may_follow_a_delimiter_up_to_its_limit(begun: bytes, over: int) -> None:
    whole = begun + b"--" + BOUNDARY + b"\t " * (MAX_PADDING // 2) + b" " * over + b"\r\n" + PHOTO + DELIMITER + b"--"
    for chunks in ([whole], cut(whole, range(len(whole)))):
        assert (parse(chunks, boundary=BOUNDARY)[-1] is Mark.FORM_END) is not bool(over)


@pytest.mark.parametrize(
    ("opening", "more"),
    [
        (b"", b"\r\n"),
        (b"", b"Hello\r\n"),
        (b"", DELIMITER),
        (body(PHOTO), b"\r\nThe end"),
        (b"--" + BOUNDARY, b" "),
        (b"--" + BOUNDARY + b"\r\n", b"x"),
        (b"--" + BOUNDARY + b"\r\nx:", b" "),
        (b"--" + BOUNDARY + b"\r\nx:", b"\r\n "),
        (b"--" + BOUNDARY + b"\r\n" + PHOTO + DELIMITER, b"\t"),
        (b"--" + BOUNDARY + b"\r\n" + PHOTO, DELIMITER),
        (b"--" + BOUNDARY + b"\r\n" + PHOTO, b"\r"),
    ],
    ids=[
        *("before", "preamble", "look-alikes before", "after", "padding", "name", "value", "folded value"),
        *("later padding", "look-alikes", "line breaks"),
    ],
)
def test_the_parser_buffers_at_most_one_header(opening: bytes, more: bytes) -> None:
    chunk = more * 28
    # What else the process allocates meanwhile is traced as well: for the measurement of coverage, or in other threads.
    limit = MAX_HEADER_BYTES + (0 if opening else MAX_PREAMBLE_BYTES) + 64 * KIB
    tracemalloc.start()
    try:
        parser = FormParser(BOUNDARY)
        parser.feed(opening)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2 * MAX_HEADER_BYTES):
            parser.feed(chunk)
            now, _ = tracemalloc.get_traced_memory()
            assert now - before < limit
            if isinstance(parser.fault, MalformedBody):
                break
    finally:
        tracemalloc.stop()


@contextmanager
def _counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return how many bytes each search for a delimiter examines, and 1 for each call, whose other work has a limit."""
    counts: list[int] = []

    def counted_find(view: memoryview, wanted: bytes, start: int) -> int:
        place: int = find(view, wanted, start)
        counts.append((len(view) if place < 0 else place) - start)
        return place

    def count_call(_frame: object, event: str, _argument: object) -> None:
        counts.append(event in {"call", "c_call"})

    with monkeypatch.context() as patch:
        patch.setattr("recipe_api.multipart.parser.find", counted_find)
        sys.setprofile(count_call)
        try:
            yield counts
        finally:
            sys.setprofile(None)


@pytest.mark.parametrize("size", [1, 10, 1000, 10**6], ids=lambda size: f"chunks of {size}")
@pytest.mark.parametrize(
    "data",
    [DELIMITER, DELIMITER[:-1], DELIMITER + b"-\r", b"\r", b"\r\n--", b"x"],
    ids=["look-alikes", "nearly", "until the last byte", "returns", "hyphens", "plain"],
)
def test_the_work_is_linear_and_a_chunk_causes_at_most_two_views(
    data: bytes, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = []
    for times in (100, 200):
        whole = body(file((data + b"x") * times))
        chunks = cut(whole, range(0, len(whole), size))
        parser = FormParser(BOUNDARY)
        with _counted(monkeypatch) as counts:
            events = [event for chunk in chunks for event in parser.feed(chunk)]
        assert events[-1] is Mark.FORM_END
        assert sum(isinstance(event, memoryview) for event in events) <= 2 * len(chunks)
        work.append(sum(counts))
    assert work[1] < 2.1 * work[0]


def test_the_boundary_of_these_tests_is_valid_in_a_header() -> None:
    assert parse_boundary(f"multipart/form-data; boundary={BOUNDARY.decode()}") == BOUNDARY
    assert issubclass(NotMultipart, RecipeApiError)
