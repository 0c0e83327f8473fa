"""Our parser gives the same events as python-multipart's, however the body is split into chunks."""

import re
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recipe_api.multipart.parser import MAX_HEADER_BYTES, MAX_HEADERS
from tests.multipart.bodies import cut
from tests.multipart.oracle import expected, first_delimiter, outcome, parse
from tests.support.examples import examples

pytestmark = pytest.mark.slow

B = b"b"
NAMED = b"Content-Disposition:form-data;name=a"
OPENING = b"--b\r\n" + NAMED + b"\r\n\r\n"


BEFORE = [b"", b"\r\n", b"\n\r\r", b" ", b"x\r\n", b"-"]
FIRST = [b"--b\r\n\r\n", b"--b--", b"--b--x", b"--bx", b"--b\rx", b"--b-x", b"--b\n", b"--c\r\n", b"-b\r\n", b"--b-"]
HEADERS = [
    b"\r\n",
    b"\rx\r\n\r\n",
    b"\r\r\n\r\n",
    NAMED + b"\r\n\r\n",
    NAMED + b"\r\r\n\r\n",
    NAMED + b"\rx: y\r\n\r\n",
    NAMED + b"\n\r\n\r\n",
    NAMED + b"\r\nx:\r\n\r\n",
    NAMED + b"\r\nx:\n:\0\xff \r\n\r\n",
    NAMED + b"\r\nX:y\r\nx:z\r\n\r\n",
    NAMED + b"\r\n:y\r\n\r\n",
    NAMED + b"\r\nx\r\n\r\n",
    NAMED + b"\r\nx y:z\r\n\r\n",
    NAMED + b"\r\nx:  \ty\r\n\r\n",
    NAMED + b"\r\n!#$%&'*+-.^_`|~09azAZ:y\r\n\r\n",
    b"Content-Disposition:    form-data;name=a\r\n\r\n",
    b"Content-Disposition:\tform-data;name=a\r\n\r\n",
    b"CONTENT-DISPOSITION:form-data;name=\xff\r\n\r\n",
]
DATA = [
    b"",
    b"x",
    b"--b\r\n",
    b"--b--",
    b"-",
    b"\n--b--",
    b"\r",
    b"\r\r",
    b"\r\n",
    b"\r\n-",
    b"\r\n--",
    b"\r\n--bx",
    b"\r\n--b\n",
    b"\r\n--b\rx",
    b"\r\n--b\r\r",
    b"\r\n--b-x",
    b"\r\n--b-\r\n",
    b"\r\n--b-\r\n--b",
    b"\r\n-\r\n--\r\n--",
    b"\r\n--\r\n--bb\r\n--bx",
]
ENDINGS = [
    b"\r\n--b--",
    b"\r\n--b--\r\n--b\r\n",
    b"\r\n--b--x",
    b"\r\n--b",
    b"\r\n--b\r\n" + NAMED + b"\r\n\r\n\r\n--b--",
    b"\r\n--b \t\r\n" + NAMED + b"\r\n\r\n\r\n--b--",
    b"\r\n--b \rx",
    b"\r\n--b\tx",
    b"\r\n--b --",
    b"\r\n--b\r\n\r\n",
]
ODDITIES = [
    *(before + OPENING + b"x" + ENDINGS[0] for before in BEFORE),
    *FIRST,
    *(b"--b\r\n" + headers + b"x" + ENDINGS[0] for headers in HEADERS),
    *(OPENING + data + ENDINGS[0] for data in DATA),
    *(OPENING + b"x" + ending for ending in ENDINGS),
]


def _as_views(chunks: list[bytes]) -> list[memoryview]:
    return [memoryview(bytearray(chunk)) for chunk in chunks]


@pytest.mark.parametrize("body", ODDITIES, ids=repr)
def test_an_odd_body_is_parsed_as_by_python_multipart_however_it_is_split(body: bytes) -> None:
    whole = parse([body], boundary=B)
    assert outcome(whole) == outcome(expected(body, boundary=B))
    assert parse(cut(body, range(len(body))), boundary=B) == whole
    for places in combinations(range(len(body) + 1), 2):
        assert parse(_as_views(cut(body, places)), boundary=B) == whole, places


@pytest.mark.parametrize("place", [b"%c", b"x%cy"], ids=["alone", "within"])
def test_header_names_have_the_characters_that_python_multipart_accepts(place: bytes) -> None:
    for character in set(range(256)) - (set(b" \t") if place == b"%c" else set()):  # continues the previous line
        body = b"--b\r\n" + NAMED + b"\r\n" + place % character + b":z\r\n\r\nx\r\n--b--"
        assert outcome(parse([body], boundary=B)) == outcome(expected(body, boundary=B)), chr(character)


def _header(size: int) -> bytes:
    return b"X-Long: ".ljust(size, b"y") + b"\r\n"


@pytest.mark.parametrize("size", range(MAX_HEADER_BYTES - 1, MAX_HEADER_BYTES + 4))
@pytest.mark.parametrize("step", [1, 1000, MAX_HEADER_BYTES - 1, MAX_HEADER_BYTES + 1, 2 * MAX_HEADER_BYTES])
def test_headers_may_be_as_long_as_python_multipart_accepts(size: int, step: int) -> None:
    body = b"--b\r\n" + NAMED + b"\r\n" + _header(size) + b"\r\nx\r\n--b--"
    got = parse(cut(body, range(0, len(body), step)), boundary=B)
    assert got == parse([body], boundary=B)
    assert outcome(got) == outcome(expected(body, boundary=B))


@pytest.mark.parametrize("more", [MAX_HEADERS - 2, MAX_HEADERS - 1, MAX_HEADERS, MAX_HEADERS + 1])
def test_a_part_may_have_as_many_headers_as_python_multipart_accepts(more: int) -> None:
    longest = b"".join(b"%d" % number + _header(MAX_HEADER_BYTES - 1) for number in range(more))
    body = b"--b\r\n" + NAMED + b"\r\n" + longest + b"\r\nx\r\n--b--"
    for size in (len(body), 5000, 100):
        assert outcome(parse(cut(body, range(0, len(body), size)), boundary=B)) == outcome(expected(body, boundary=B))


_BOUNDARIES = st.sampled_from([b"b", b"-", b"--", b"a b", b"----WebKitFormBoundary7MA4YWxkTrZu0gW", b"b" * 256])


@st.composite
def _babble(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Generate a boundary, and bytes that are almost a form with it."""
    boundary = draw(_BOUNDARIES)
    delimiter = b"\r\n--" + boundary
    fragments = st.sampled_from(
        [
            *(b"\r", b"\n", b"\r\n", b"-", b"--", b" ", b"\t", b":", b"x", b"\r\n\r\n", b"X:y\r\n"),
            *(delimiter, delimiter + b"\r", delimiter + b"\r\n", delimiter + b"-", delimiter + b"--"),
            *(delimiter[:-1], delimiter[:3], delimiter[1:], delimiter[2:], delimiter + b" \r\n"),
            *(NAMED, NAMED + b"\r\n\r\n", b'Content-Disposition: form-data; name="p"; filename="q"\r\n'),
        ]
    )
    rest = draw(st.lists(fragments | st.binary(max_size=5), max_size=16).map(b"".join))
    opening = draw(st.sampled_from([b"", delimiter + b"\r\n", delimiter[2:] + b"\r\n" + NAMED + b"\r\n\r\n"]))
    closing = draw(st.sampled_from([b"", delimiter + b"--"]))
    return boundary, opening + rest + closing


@given(babble=_babble(), places=st.lists(st.integers(0, 1000), max_size=8))
@settings(max_examples=examples(1500))
def test_any_body_is_parsed_as_by_python_multipart_however_it_is_split(
    babble: tuple[bytes, bytes], places: list[int]
) -> None:
    boundary, body = babble
    # python-multipart allows white space after every delimiter but the first, and no folded headers.
    first = first_delimiter(body, boundary=boundary)
    assume(first is None or not first["padding"])
    assume(not re.search(rb"\r\n[ \t]", body))
    whole = parse([body], boundary=boundary)
    assert outcome(whole) == outcome(expected(body, boundary=boundary))
    assert parse(_as_views(cut(body, places)), boundary=boundary) == whole
    assert parse(cut(body, range(len(body))), boundary=boundary) == whole
