"""File names that are safe to store and to send in a header."""

import unicodedata

import pytest
from aiohttp import content_disposition_filename, parse_content_disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.photos.kinds import KNOWN, Kind
from recipe_api.uploads.names import MAX_NAME_BYTES, content_disposition, download_name, original_name
from tests.support.examples import examples

# Any characters, and many of those that a name must not contain or a header must escape.
_texts = st.text(st.characters()) | st.text(st.sampled_from("\"'\\/%;=*. \r\n\0\x7f\x85\u2028\u202e\ud800äß🥞.jpg"))
filenames = _texts | st.integers(0, 400).flatmap(lambda length: _texts.map(lambda text: text + "x" * length + ".jpeg"))


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("pancakes.jpg", "pancakes.jpg"),
        ("Pfannkuchen für 2 (Kopie).JPG", "Pfannkuchen für 2 (Kopie).JPG"),
        ("パンケーキ 🥞.png", "パンケーキ 🥞.png"),
        ("C:\\Users\\cook\\pancakes.jpg", "pancakes.jpg"),
        ("/home/cook/pancakes.jpg", "pancakes.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("mixed/of\\both.jpg", "both.jpg"),
        (".htaccess", "htaccess"),
        (" pancakes.jpg ", "pancakes.jpg"),
        ("pan\0cakes\r\n.jpg", "pancakes.jpg"),
        ("gpj.\u202ecod.exe", "gpj.cod.exe"),
        ("pan\u2028cakes\ud83e.jpg", "pancakes.jpg"),
        ("\u200bpancakes\ufeff.jpg", "pancakes.jpg"),
        ("می\u200cخواهم.jpg", "می\u200cخواهم.jpg"),  # noqa: RUF001 - Persian, with its joiner
        ("👨\u200d👩\u200d👧.jpg", "👨\u200d👩\u200d👧.jpg"),
        ('12" cake; filename=evil.exe', '12" cake; filename=evil.exe'),
        ("100%25.jpg", "100%25.jpg"),
    ],
)
def test_a_name_stays_recognizable(filename: str, expected: str) -> None:
    assert original_name(filename, extension="jpg") == expected


@pytest.mark.parametrize(
    "filename", ["", " ", ".", "..", "/", "\\", "photos/", "C:\\", "\0", "\u202e", "\u200d", ". ."]
)
def test_a_name_of_which_nothing_is_left_becomes_photo(filename: str) -> None:
    assert original_name(filename, extension="webp") == "photo.webp"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("x" * 251 + ".jpg", "x" * 251 + ".jpg"),
        ("x" * 252 + ".jpg", "x" * 251 + ".jpg"),
        ("ä" * 200 + ".jpg", "ä" * 125 + ".jpg"),
        ("🥞" * 100 + ".jpeg", "🥞" * 62 + ".jpeg"),
        ("x" * 300, "x" * 255),
        ("x" * 100 + "." + "y" * 300, "x" * 100 + "." + "y" * 154),
        ("x" * 300 + ".", "x" * 255),
    ],
)
def test_a_long_name_is_cut_at_a_whole_character_and_keeps_its_extension(filename: str, expected: str) -> None:
    assert original_name(filename, extension="jpg") == expected


@given(filenames)
@settings(max_examples=examples(400))
def test_every_name_can_be_stored(filename: str) -> None:
    name = original_name(filename, extension="jpg")
    assert 0 < len(name.encode("utf-8")) <= MAX_NAME_BYTES
    assert not set(name) & {"/", "\\", "\0"}
    assert not {unicodedata.category(c) for c in name} & {"Cc", "Cs", "Zl", "Zp"}
    assert name not in {".", ".."}


@given(filename=filenames, inline=st.booleans())
@settings(max_examples=examples(400))
def test_the_header_is_ascii_and_decodes_to_the_same_name(filename: str, *, inline: bool) -> None:
    name = original_name(filename, extension="jpg")
    header = content_disposition(name, inline=inline)
    assert header.isascii()
    assert header.isprintable()
    kind, parameters = parse_content_disposition(header)
    assert kind == ("inline" if inline else "attachment")
    assert parameters.keys() == {"filename", "filename*"}
    assert content_disposition_filename(parameters) == name


@given(filenames)
@settings(max_examples=examples(200))
def test_the_fallback_name_needs_no_escapes_and_has_the_same_length(filename: str) -> None:
    name = original_name(filename, extension="jpg")
    fallback = content_disposition(name, inline=True).split('"')[1]
    assert len(fallback) == len(name)
    assert not set(fallback) & set('"\\%;')
    assert all(plain in {c, "_"} for plain, c in zip(fallback, name, strict=True))


def test_the_longest_header_is_far_below_the_limit_of_a_store() -> None:
    name = original_name("\u0800" * 500, extension="jpg")
    assert len(content_disposition(name, inline=False)) < 2048


@pytest.mark.parametrize(
    ("content_type", "name", "expected"),
    [
        ("image/gif", "invoice.html", "invoice.gif"),
        ("image/gif", "invoice.HTML", "invoice.gif"),
        ("image/gif", "invoice.gif.exe", "invoice.gif.gif"),
        ("image/jpeg", "photo.JPG", "photo.JPG"),
        ("image/jpeg", "photo.jpeg", "photo.jpeg"),
        ("image/jpeg", "photo.png", "photo.jpg"),
        ("image/heic", "IMG_0001.HEIF", "IMG_0001.HEIF"),
        ("image/tiff", "scan.tiff", "scan.tiff"),
        ("image/jpeg", "photo", "photo.jpg"),
        ("image/jpeg", "html", "html.jpg"),
        ("image/jpeg", "Dr. Oetker", "Dr. Oetker.jpg"),
        ("image/jpeg", "2026.11", "2026.11.jpg"),
        ("image/jpeg", "pan.\uff48\uff54\uff4d", "pan.\uff48\uff54\uff4d.jpg"),
        ("image/jpeg", "x" * 250 + ".html", "x" * 250 + ".jpg"),
        ("image/jpeg", "x" * 255, "x" * 251 + ".jpg"),
        ("application/octet-stream", "page.html", "page.bin"),
        ("application/octet-stream", "IMG_0001.CR3", "IMG_0001.CR3"),
    ],
)
def test_a_download_has_the_extension_of_its_type(content_type: str, name: str, expected: str) -> None:
    assert download_name(name, KNOWN[content_type]) == expected


@given(filename=filenames, kind=st.sampled_from(list(KNOWN.values())))
@settings(max_examples=examples(400))
def test_a_download_never_has_the_extension_of_another_type(filename: str, kind: Kind) -> None:
    name = download_name(original_name(filename, extension=kind.extension), kind)

    assert name.rpartition(".")[2].lower() in {kind.extension, *kind.other_extensions}
    assert len(name.encode()) <= MAX_NAME_BYTES


def test_no_type_has_an_executable_extension() -> None:
    extensions = {name for kind in KNOWN.values() for name in (kind.extension, *kind.other_extensions)}
    assert not extensions & {"html", "htm", "xhtml", "svg", "xml", "js", "mht", "pdf", "exe", "hta", "lnk", "url", "sh"}
