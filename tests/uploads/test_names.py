"""The name a file had at its owner's, safe to store and to send."""

import unicodedata

import pytest
from aiohttp import content_disposition_filename, parse_content_disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.uploads.names import MAX_NAME_BYTES, content_disposition, original_name

# Any characters at all, and thickly those that a name must not keep or a header must escape.
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
def test_a_name_keeps_what_a_person_would_recognise_it_by(filename: str, expected: str) -> None:
    assert original_name(filename, extension="jpg") == expected


@pytest.mark.parametrize(
    "filename", ["", " ", ".", "..", "/", "\\", "photos/", "C:\\", "\0", "\u202e", "\u200d", ". ."]
)
def test_where_nothing_is_left_of_a_name_it_is_photo(filename: str) -> None:
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
@settings(deadline=None, max_examples=400)
def test_whatever_was_sent_the_name_is_one_that_can_be_stored(filename: str) -> None:
    name = original_name(filename, extension="jpg")
    assert 0 < len(name.encode("utf-8")) <= MAX_NAME_BYTES
    assert not set(name) & {"/", "\\", "\0"}
    assert not {unicodedata.category(c) for c in name} & {"Cc", "Cs", "Zl", "Zp"}
    assert name not in {".", ".."}


@given(filename=filenames, inline=st.booleans())
@settings(deadline=None, max_examples=400)
def test_the_header_is_plain_ascii_and_says_the_same_name_to_whoever_reads_it(filename: str, *, inline: bool) -> None:
    name = original_name(filename, extension="jpg")
    header = content_disposition(name, inline=inline)
    assert header.isascii()
    assert header.isprintable()
    kind, parameters = parse_content_disposition(header)
    assert kind == ("inline" if inline else "attachment")
    assert parameters.keys() == {"filename", "filename*"}
    assert content_disposition_filename(parameters) == name


@given(filenames)
@settings(deadline=None, max_examples=200)
def test_the_fallback_name_needs_no_escapes_and_has_a_character_for_each_of_the_name(filename: str) -> None:
    name = original_name(filename, extension="jpg")
    fallback = content_disposition(name, inline=True).split('"')[1]
    assert len(fallback) == len(name)
    assert not set(fallback) & set('"\\%;')
    assert all(plain in {c, "_"} for plain, c in zip(fallback, name, strict=True))


def test_the_longest_header_is_far_below_what_a_store_takes() -> None:
    name = original_name("\u0800" * 500, extension="jpg")
    assert len(content_disposition(name, inline=False)) < 2048
