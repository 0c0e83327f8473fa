"""A text field is decoded as its part declares, or rejected with the name of the header that declares it."""

import codecs
from base64 import b64encode, encodebytes
from collections.abc import Iterator
from quopri import encodestring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.errors import InvalidText
from recipe_api.multipart.charsets import CHARSETS, UnknownCharsetError, decode, is_known
from recipe_api.multipart.headers import PartHeaders
from recipe_api.multipart.text import declared_encoding
from tests.support.examples import examples


def value_of(value: bytes, content_type: bytes = b"", transfer_encoding: bytes = b"", *, default: str = "utf-8") -> str:
    """Return the label that arrives as these bytes, in a part with these headers."""
    part = PartHeaders("label", None, content_type, transfer_encoding)
    return declared_encoding(part, default_charset=default).decode(value, field="label")


@pytest.mark.parametrize(
    ("content_type", "value"),
    [
        (b"", "Crêpes".encode()),
        (b"text/plain", "Crêpes".encode()),
        (b"text/plain; charset=", "Crêpes".encode()),
        (b"text/plain; charset=UTF8", "Crêpes".encode()),
        (b"text/plain; charset=ISO-8859-1", b"Cr\xeapes"),
        (b"text/plain; charset=latin1", b"Cr\xeapes"),
        (b'text/plain; charset="windows-1252"', b"Cr\xeapes"),
        (b"text/plain; charset=iso-8859-15", b"Cr\xeapes"),
        (b"text/plain; charset=utf-16", "Crêpes".encode("utf-16")),
        (b"text/plain; charset=UTF-16BE", "Crêpes".encode("utf-16-be")),
        (b"text/plain; charset=utf-32", "Crêpes".encode("utf-32")),
        (b"text/plain; charset=macintosh", "Crêpes".encode("mac_roman")),
        (b"text/plain; charset=cp850", "Crêpes".encode("cp850")),
    ],
)
def test_a_text_is_decoded_from_the_charset_that_its_part_declares(content_type: bytes, value: bytes) -> None:
    assert value_of(value, content_type) == "Crêpes"


@pytest.mark.parametrize("charset", ["iso-2022-jp", "Shift_JIS", "x-sjis", "windows-31j", "EUC-JP", "gb18030", "GBK"])
def test_a_text_is_decoded_from_an_east_asian_charset(charset: str) -> None:
    codec = CHARSETS["_".join(charset.lower().split("-"))]
    assert value_of("日本".encode(codec), f"text/plain; charset={charset}".encode()) == "日本"


@pytest.mark.parametrize(
    ("charset", "value", "text"),
    [
        ("ISO-8859-1", b"\x80 2 \x96 3", "€ 2 – 3"),  # noqa: RUF001 - a dash
        ("ISO-8859-1", b"\x81", "\x81"),
        ("iso-8859-9", b"\x80\xfd", "€ı"),  # noqa: RUF001 - Turkish
        ("shift_jis", b"\x87\x40", "①"),
        ("gb2312", b"\x81\x40", "丂"),
        ("euc-kr", b"\x81\x41", "갂"),
    ],
)
def test_a_charset_name_means_the_superset_that_clients_use(charset: str, value: bytes, text: str) -> None:
    assert value_of(value, f"text/plain; charset={charset}".encode()) == text


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        (b"base64", b"Q3LDqnBlcw=="),
        (b"BASE64", b"Q3LD\r\nqnBl\r\ncw==\r\n"),
        (b"quoted-printable", b"Cr=C3=AApes"),
        (b"Quoted-Printable", b"Cr=c3=\r\n=AApes"),
        (b"binary", "Crêpes".encode()),
        (b"7bit", "Crêpes".encode()),
        (b" 8BIT ", "Crêpes".encode()),
        (b"", "Crêpes".encode()),
    ],
)
def test_a_text_is_decoded_from_its_transfer_encoding(encoding: bytes, value: bytes) -> None:
    assert value_of(value, transfer_encoding=encoding) == "Crêpes"


@given(
    text=st.text(),
    codec=st.sampled_from(["utf-8", "utf-16", "utf-32"]),
    encode=st.sampled_from([encodebytes, encodestring]),
)
def test_any_text_survives_both_encodings(text: str, codec: str, encode: object) -> None:
    name = b"base64" if encode is encodebytes else b"quoted-printable"
    value = (encodebytes if encode is encodebytes else encodestring)(text.encode(codec))
    assert value_of(value, b"text/plain; charset=" + codec.encode(), name) == text


@pytest.fixture
def looked_up() -> Iterator[list[str]]:
    """Yield the unknown codec names that are looked up. Python keeps each of them in an unbounded cache."""
    names: list[str] = []
    note = names.append
    codecs.register(note)
    yield names
    codecs.unregister(note)


@pytest.mark.parametrize(
    "charset",
    [
        *(
            "zlib",
            "zip",
            "bz2",
            "base64",
            "hex",
            "uu",
            "quopri",
            "rot13",
            "idna",
            "punycode",
            "undefined",
            "mbcs",
            "oem",
        ),
        *("unicode_escape", "raw_unicode_escape", "string_escape", "utf-7", "unicode-1-1-utf-7", "charmap", "palmos"),
        *("klingon", "x" * 4000, "\xe4", "../codecs", "encodings.zlib_codec", "-", "no charset"),
    ],
)
def test_an_unknown_charset_is_rejected_and_not_cached(charset: str, looked_up: list[str]) -> None:
    with pytest.raises(InvalidText, match=r"^label has the unknown charset .{1,60} in its [a-zA-Z-]+\. Send UTF-8\.$"):
        value_of(b"x", b'text/plain; charset="' + charset.encode("latin-1") + b'"')
    assert looked_up == []


@pytest.mark.parametrize(
    ("content_type", "encoding", "value", "detail"),
    [
        (b"", b"", b"caf\xe9", "label is not valid UTF-8."),
        (b"text/plain", b"", b"caf\xe9", "label is not valid UTF-8."),
        (
            b"text/plain; charset=US-ASCII",
            b"",
            b"caf\xe9",
            "label is not valid US-ASCII, the charset in its Content-Type.",
        ),
        (b"text/plain; charset=utf-16", b"", b"\x00\xd8x\x00", "label is not valid UTF-16, the charset in its"),
        (b"", b"base64", b"Pancakes!", "label is not valid base64, the Content-Transfer-Encoding of its part."),
        (b"", b"base64", b"Q3LDqnBlc", "label is not valid base64, the Content-Transfer-Encoding of its part."),
        (b"", b"x-uuencode", b"x", "label has the unknown Content-Transfer-Encoding x-uuencode. Remove it."),
        (b"", b"gz\0ip", b"x", "label has the unknown Content-Transfer-Encoding gz?ip. Remove it."),
    ],
)
def test_a_text_that_cannot_be_decoded_is_rejected_and_its_header_named(
    content_type: bytes, encoding: bytes, value: bytes, detail: str
) -> None:
    with pytest.raises(InvalidText) as caught:
        value_of(value, content_type, encoding)
    assert caught.value.detail.startswith(detail)
    assert caught.value.field == "label"


def test_every_charset_is_a_text_encoding_of_python() -> None:
    for name, codec in CHARSETS.items():
        assert is_known(name)
        assert decode("x".encode(codec), name) == "x"


@given(
    value=st.binary(max_size=100),
    charset=st.sampled_from(sorted(CHARSETS)),
    encoding=st.sampled_from([b"", b"base64", b"quoted-printable"]),
)
@settings(max_examples=examples(500))
def test_any_bytes_are_decoded_to_a_text_that_can_be_stored_or_rejected(
    value: bytes, charset: str, encoding: bytes
) -> None:
    sent = b64encode(value) if encoding == b"base64" else value
    try:
        text = value_of(sent, b"text/plain; charset=" + charset.encode(), encoding)
    except InvalidText:
        return
    assert len(text.encode("utf-8")) <= 4 * len(value)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(UnknownCharsetError):
        decode(b"x", "klingon")
