"""The headers of a part."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.errors import MalformedBody, RecipeApiError
from recipe_api.multipart.headers import (
    MAX_PARAMETERS,
    PartHeaders,
    parse_common_headers,
    parse_headers,
    parse_parameters,
    printable,
)
from tests.support.examples import examples


def named(parameters: bytes) -> PartHeaders:
    """Return the headers of a file whose `Content-Disposition` has these parameters."""
    return parse_headers({b"content-disposition": b"form-data; " + parameters})


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        (b'filename="pancakes.jpg"', "pancakes.jpg"),
        (b"filename=pancakes.jpg", "pancakes.jpg"),
        (b'FileName="pancakes.jpg"', "pancakes.jpg"),
        (b'filename = "pancakes.jpg"', "pancakes.jpg"),
        (b'filename=""', ""),
        (b"filename=", ""),
        (b'filename="a;b=c.jpg"', "a;b=c.jpg"),
        (rb'filename="12\" cake.jpg"', '12" cake.jpg'),
        (b'filename="12%22 cake.jpg"', "12%22 cake.jpg"),  # browsers write this for a quote, but it may also be literal
        (rb'filename="a\\b.jpg"', "a\\b.jpg"),
        (rb'filename="C:\photos\cake.jpg"', "C:\\photos\\cake.jpg"),
        (b'filename="../../etc/passwd"', "../../etc/passwd"),
        ('filename="Pfannkuchen 🥞 für 2.jpg"'.encode(), "Pfannkuchen 🥞 für 2.jpg"),
        ("filename=日本.jpg".encode(), "日本.jpg"),
    ],
)
def test_a_file_name_is_read_as_the_client_meant_it(parameters: bytes, filename: str) -> None:
    for name in (b"name=photo; ", b'name="photo"; '):
        assert named(name + parameters) == PartHeaders("photo", filename)
        assert named(parameters + b";" + name) == PartHeaders("photo", filename)


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        (b"filename*=UTF-8''%e2%82%ac%20rates.jpg", "€ rates.jpg"),
        (b"filename*=utf-8'en'plain.jpg", "plain.jpg"),
        (b"FILENAME*=utf-8''a.jpg", "a.jpg"),
        (b"filename*=\"utf-8''%C3%A4.jpg\"", "ä.jpg"),
        (b"filename*=iso-8859-1''%E4.jpg", "ä.jpg"),
        (b"filename*=iso-8859-1''%80.jpg", "€.jpg"),
        (b"filename*=us-ascii''a.jpg", "a.jpg"),
        (b"filename*=shift_jis''%93%FA%96%7B.jpg", "日本.jpg"),
        (b"filename*=utf-8''", ""),
        (b"filename=\"plain.jpg\"; filename*=utf-8''extended.jpg", "extended.jpg"),
        (b"filename*=utf-8''extended.jpg; filename=plain.jpg", "extended.jpg"),
        (b"filename=\"=?utf-8?B?U8O8cHBlLmpwZw==?=\"; filename*=utf-8''S%C3%BCppe.jpg", "Süppe.jpg"),  # .NET
        (b"x=\"; filename*=utf-8''inside.jpg\"; filename*=utf-8''real.jpg", "real.jpg"),
        (b"filename*=utf-8''first.jpg; filename*=utf-8''second.jpg", "first.jpg"),
    ],
)
def test_an_extended_file_name_takes_precedence_over_a_plain_one(parameters: bytes, filename: str) -> None:
    assert named(b"name=photo; " + parameters) == PartHeaders("photo", filename)


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        (b"filename*0*=utf-8''S%C3%BC; filename*1*=ppe.jpg", "Süppe.jpg"),
        (b"filename*1*=ppe.jpg; filename*0*=utf-8''S%C3%BC", "Süppe.jpg"),
        (b'filename*0="100%25 "; filename*1="soup.jpg"', "100%25 soup.jpg"),
        (b"filename*0*=utf-8''S%C3; filename*1*=%BCppe; filename*2=.jpg; filename*4=x", "Süppe.jpg"),
        (b"filename*=utf-8''a.jpg; filename*0=b.jpg", "a.jpg"),
        (b"filename=a.jpg; filename*1=b.jpg", "a.jpg"),
    ],
)
def test_a_file_name_may_be_continued_as_mail_libraries_do(parameters: bytes, filename: str) -> None:
    assert named(b"name=photo; " + parameters) == PartHeaders("photo", filename)


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        (b"=?utf-8?B?U8O8cHBlLmpwZw==?=", "Süppe.jpg"),
        (b"=?UTF-8?Q?S=C3=BCppe_1.jpg?=", "Süppe 1.jpg"),
        (b"=?iso-8859-1?q?S=FCppe?=.jpg", "Süppe.jpg"),
        (b"=?utf-8*de?B?U8O8cHBl?= =?utf-8?B?LmpwZw==?=", "Süppe.jpg"),
        (b"=?utf-8?B?LmpwZw?=", ".jpg"),
        (b"=?utf-8?B?!?=", "=?utf-8?B?!?="),
        (b"=?klingon?B?U8O8cHBl?=", "=?klingon?B?U8O8cHBl?="),
        (b"=?utf-8?B?/w==?=", "=?utf-8?B?/w==?="),
        (b"=?zlib?B?eJwDAAAAAAE=?=", "=?zlib?B?eJwDAAAAAAE=?="),
        (b"what=?.jpg", "what=?.jpg"),
    ],
)
def test_encoded_words_in_a_file_name_are_decoded_if_possible(sent: bytes, filename: str) -> None:
    assert named(b'name="photo"; filename="%b"' % sent).filename == filename


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        (b'filename="caf\xe9.jpg"', "café.jpg"),
        (b'filename="\x80\x81.jpg"', "€\ufffd.jpg"),
        (b'filename="\xed\xa0\xbd.jpg"', "í\xa0½.jpg"),
        (b'filename="a\0.jpg"', "a\0.jpg"),
        (b"filename*=utf-8''%E9.jpg", "é.jpg"),
        (b"filename*=us-ascii''%C3%A4.jpg", "ä.jpg"),
        (b"filename*=klingon''a.jpg", "a.jpg"),
        (b"filename*=zlib''a.jpg", "a.jpg"),
        (b"filename*=''a.jpg", "a.jpg"),
        (b"filename*=a.jpg", "a.jpg"),
        (b"filename=plain.jpg; filename*=klingon''a.jpg", "plain.jpg"),
        (b"filename=plain.jpg; filename*=utf-8''%ff.jpg", "plain.jpg"),
        (b"filename=plain.jpg; filename*=a.jpg", "plain.jpg"),
    ],
)
def test_a_file_name_that_cannot_be_decoded_does_not_fail_the_upload(parameters: bytes, filename: str) -> None:
    assert named(b"name=photo; " + parameters) == PartHeaders("photo", filename)


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        (b'x; name="photo"; filename="soup.jpg" "', {b"name": b"photo", b"filename": b"soup.jpg"}),  # Retrofit
        (b'x; name="a"b"c; d=e', {b"name": b"a", b"d": b"e"}),
        (b'x; name="a', {b"name": b"a"}),
        (b'x; name="a;b=c', {b"name": b"a;b=c"}),
        (b'x; name="a\\', {b"name": b"a"}),
        (b"x; name=a; name=b", {b"name": b"a"}),
        (b'x; name=""; name=b', {b"name": b""}),
        (b"x; NAME=a; name=b", {b"name": b"a"}),
        (b"x;;; ; name=a;", {b"name": b"a"}),
        (b'x; "; name=a"; name=b', {b"name": b"b"}),
        (b"x; name; =a; b", {}),
        (b"x", {}),
        (b"", {}),
    ],
)
def test_a_quoted_value_ends_at_its_closing_quote_and_the_first_of_two_values_counts(
    value: bytes, parameters: dict[bytes, bytes]
) -> None:
    assert parse_parameters(value) == (value[:1], parameters)


@pytest.mark.parametrize(
    "value", [b";a=" * 20_000, b'"\\' * 20_000, b'; a="' * 20_000, b"; " * 20_000, b";\t" + b" " * 40_000]
)
def test_parameters_are_read_in_one_pass(value: bytes) -> None:
    parse_parameters(b"x" + value)  # the timeout of the tests is the limit


@pytest.mark.parametrize(
    "disposition", [b"form-data", b"form-data; name", b'form-data; name=""', b"attachment; name=a", b""]
)
def test_a_part_must_be_form_data_with_a_name(disposition: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_headers({b"content-disposition": disposition})


_VALUES = st.binary(max_size=20).filter(lambda value: not set(value) & set(b'\r\n"\\'))


@given(name=_VALUES.filter(bool), filename=st.none() | _VALUES, content_type=st.none() | _VALUES.filter(bytes.strip))
@settings(max_examples=examples(300))
def test_the_fast_path_for_common_headers_gives_the_same_result(
    name: bytes, filename: bytes | None, content_type: bytes | None
) -> None:
    disposition = b'form-data; name="%b"' % name + (b"" if filename is None else b'; filename="%b"' % filename)
    media_type = (content_type or b"").lstrip(b" ")
    head = (
        b"Content-Disposition: " + disposition + b"\r\n" + (b"Content-Type: %b\r\n" % media_type if media_type else b"")
    )
    headers = {b"content-disposition": disposition} | ({b"content-type": media_type} if media_type else {})
    try:
        expected: PartHeaders | str = parse_headers(headers)
    except RecipeApiError as error:
        expected = error.detail
    try:
        usual = parse_common_headers(head + b"\r\nxyz")
    except RecipeApiError as error:
        assert error.detail == expected  # noqa: PT017 - whether it raises is the question
    else:
        assert usual == (expected, len(head) + 2)


@pytest.mark.parametrize(
    ("content_type", "is_binary", "charset"),
    [
        (b"", False, ""),
        (b"text/plain", False, ""),
        (b"TEXT/plain; Charset=Latin1", False, "Latin1"),
        (b'text/plain;charset="utf-8"', False, "utf-8"),
        (b"image/*", True, ""),
        (b"application/octet-stream", True, ""),
        (b"text", True, ""),
    ],
)
def test_a_media_type_shows_whether_a_part_is_text(content_type: bytes, is_binary: bool, charset: str) -> None:  # noqa: FBT001 - columns
    begin = PartHeaders("photo", None, content_type)
    assert (begin.is_declared_binary, begin.charset) == (is_binary, charset)


def test_quotations_in_errors_are_short_and_printable() -> None:
    assert printable(b" base\x00\r\n65 ") == "base???65"
    assert printable("x" * 41) == "x" * 40 + "…"


def test_parameters_beyond_the_limit_are_not_parsed() -> None:
    value = b"form-data" + b";" * (MAX_PARAMETERS - 1)

    assert parse_parameters(value + b'; name="photo"') == (b"form-data", {b"name": b"photo"})
    assert parse_parameters(value + b';; name="photo"') == (b"form-data", {})
