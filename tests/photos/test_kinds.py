"""A photo's kind is recognized by its first bytes."""

import io
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recipe_api.photos.kinds import ANYTHING, HEAD_BYTES, KNOWN, accepted, sniff
from tests.support.examples import examples


def _saved(image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, image_format, **options)
    return file.getvalue()


def _moving() -> dict[str, object]:
    return {"save_all": True, "append_images": [Image.new("RGB", (256, 256), "red")], "duration": 100}


def _ftyp(major: bytes, *compatible: bytes, size: int | None = None) -> bytes:
    """Return the head of an ISO/IEC 14496-12 file: a `ftyp` box, and the beginning of the next box."""
    content = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    length = 4 + len(content) if size is None else size
    return length.to_bytes(4, "big") + content + b"\0\0\0\x0cmeta\0\0\0\0"


@pytest.mark.parametrize(
    ("file", "content_type"),
    [
        (_saved("JPEG"), "image/jpeg"),
        (_saved("JPEG", progressive=True, comment=b"a comment"), "image/jpeg"),
        (_saved("JPEG", exif=Image.Exif()), "image/jpeg"),
        (_saved("PNG"), "image/png"),
        (_saved("PNG", **_moving()), "image/png"),
        (_saved("GIF"), "image/gif"),
        (_saved("GIF", **_moving()), "image/gif"),
        (_saved("WEBP"), "image/webp"),
        (_saved("WEBP", lossless=True), "image/webp"),
        (_saved("WEBP", **_moving()), "image/webp"),
        (_saved("AVIF"), "image/avif"),
        (_saved("AVIF", **_moving()), "image/avif"),
        (_saved("TIFF"), "image/tiff"),
        (b"MM\0*\0\0\0\x08", "image/tiff"),
        (_saved("BMP"), "image/bmp"),
        (b"\xff\x0a\xfa\x1f\x41\x90", "image/jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl ", "image/jxl"),
    ],
)
def test_a_file_is_recognized_by_its_head(file: bytes, content_type: str) -> None:
    assert sniff(file[:HEAD_BYTES]) is KNOWN[content_type]


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (_ftyp(b"avif", b"avif", b"mif1", b"miaf", b"MA1B"), "image/avif"),
        (_ftyp(b"avis", b"avis", b"msf1"), "image/avif"),
        (_ftyp(b"mif1", b"avif", b"miaf"), "image/avif"),
        (_ftyp(b"heic", b"mif1", b"heic"), "image/heic"),
        (_ftyp(b"heix", b"mif1"), "image/heic"),
        (_ftyp(b"hevc", b"msf1"), "image/heic"),
        (_ftyp(b"mif1", b"heic", b"miaf"), "image/heic"),
        (_ftyp(b"msf1", b"hevc"), "image/heic"),
        (_ftyp(b"mif1", b"miaf"), "image/heif"),
        (_ftyp(b"mif1"), "image/heif"),
        (_ftyp(b"msf1", b"iso8"), "image/heif"),
        (_ftyp(b"mif1", *[b"iso8"] * 59, b"avif"), "image/avif"),  # the last of 60, as many as the head holds
        (_ftyp(b"miaf", b"avif", b"mif1", b"miaf"), "image/avif"),
        (_ftyp(b"miaf", b"mif1", b"heic"), "image/heic"),
        (_ftyp(b"mif2", b"mif1", b"heic", b"mif2"), "image/heic"),
        (_ftyp(b"mif2", b"avis"), "image/avif"),
        (_ftyp(b"isom", b"mp42", b"avis", b"iso8"), "image/avif"),
        (_ftyp(b"MA1B", b"avif", b"mif1"), "image/avif"),
        (_ftyp(b"qt  ", b"heic"), "image/heic"),
        (_ftyp(b"jpeg", b"mif1"), "image/heif"),
        (_ftyp(b"miaf"), "image/heif"),
        (_ftyp(b"mif2"), "image/heif"),
        (_ftyp(b"heic", b"mif1", b"avif"), "image/heic"),  # two codecs: the major brand decides
        (_ftyp(b"avif", b"mif1", b"heic"), "image/avif"),
        (_ftyp(b"mif1", b"heic", b"avif"), "image/avif"),
        (b"\0\0\0\x10ftypmif3avif", "image/avif"),
        (b"\0\0\0\x10ftypmif3heic", "image/heic"),
        (b"\0\0\0\x10ftypmif3\0\0\0\0", "image/heif"),
        (_ftyp(b"heic", size=2**32 - 1), "image/heic"),  # longer than the file, but the major brand is present
    ],
)
def test_the_types_of_the_heif_family_are_distinguished_by_their_brands(head: bytes, content_type: str) -> None:
    assert sniff(head[:HEAD_BYTES]) is KNOWN[content_type]


def test_the_minor_version_is_not_a_brand() -> None:
    assert sniff(b"\0\0\0\x14ftypmif1avifmiaf") is KNOWN["image/heif"]


def test_a_brand_beyond_the_end_of_its_box_does_not_count() -> None:
    assert sniff(_ftyp(b"mif1", b"miaf", b"avif", size=20)) is KNOWN["image/heif"]


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG\n\x1a\n",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"RIFX\x24\0\0\0WEBPVP8 ",
        b"<!DOCTYPE html><script>alert(1)</script>",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"MZ\x90\0",
        b"#!/bin/sh\n",
        b"GIF88a",
        b" GIF89a",
        b"Pancakes, as my grandmother made them.",
        bytes(range(0x80, 0x100)),
        b"\0" * HEAD_BYTES,
        _ftyp(b"isom", b"iso2", b"avc1", b"mp41"),
        _ftyp(b"qt  ", b"qt  "),
        _ftyp(b"crx ", b"crx ", b"isom"),
        _ftyp(b"isom", *[b"iso8"] * 60, b"avif"),  # beyond the bytes that are examined
        _ftyp(b"heic", size=0),  # a box up to the end of the file, which a ftyp never is
        _ftyp(b"heic", size=1),  # a 64-bit size, which a ftyp never has
        _ftyp(b"heic", size=11),
        _ftyp(b"heic")[:11],
        _ftyp(b"heic")[4:],
    ],
)
def test_a_file_that_no_signature_matches_is_anything(file: bytes) -> None:
    assert sniff(file[:HEAD_BYTES]) is ANYTHING


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda rest: rest[:4] + b"ftyp" + rest[4:]))
@settings(max_examples=examples(300))
def test_any_bytes_have_a_kind(head: bytes) -> None:
    assert sniff(head) in KNOWN.values()


def test_no_two_kinds_share_a_content_type_or_an_extension() -> None:
    kinds = KNOWN.values()
    assert len({kind.extension for kind in kinds}) == len({kind.content_type for kind in kinds}) == len(kinds)
    assert {content_type: kind.content_type for content_type, kind in KNOWN.items()} == {name: name for name in KNOWN}


def test_every_kind_except_anything_is_a_raster_image_that_is_displayed_inline() -> None:
    assert [kind for kind in KNOWN.values() if not kind.inline] == [ANYTHING]
    assert {kind.content_type.partition("/")[0] for kind in KNOWN.values() if kind.inline} == {"image"}
    assert "image/svg+xml" not in KNOWN


def test_kinds_are_accepted_by_their_content_types() -> None:
    assert accepted(["image/png", "image/jpeg", "image/png"]) == {KNOWN["image/png"], KNOWN["image/jpeg"]}
    assert accepted([]) == frozenset()


@pytest.mark.parametrize("content_types", [["image/svg+xml"], ["image/png", "text/html"], ["image/*"], ["a\nb"]])
def test_an_unknown_content_type_is_rejected_in_one_line_that_lists_all(content_types: Sequence[str]) -> None:
    with pytest.raises(ValueError, match=r"choose from image/jpeg, .*application/octet-stream") as caught:
        accepted(content_types)
    assert repr(content_types[-1]) in str(caught.value)
    assert "\n" not in str(caught.value)
