"""JPEGs without their metadata: pixels, colours and orientation stay, but nothing about people, places or cameras."""

import io
import shutil
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from recipe_api.photos import exif
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.jpeg import MAX_SEGMENTS, JpegFilter
from tests.support.examples import examples
from tests.support.exiftool import tags
from tests.support.filters import FOLDER, cleaned, dimensions, fuzz, peak, rejection

MIB = 1024 * 1024
SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SECRET = b"52.520008N 13.404954E"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def frame(marker: int = 0xC0, *, width: int = 3, height: int = 2, components: int = 3) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, components) + b"\1\x11\0" * components)


def scan(components: int = 3, *, data: bytes = b"pixels") -> bytes:
    return segment(0xDA, bytes([components]) + b"\1\0" * components + b"\0\x3f\0") + data


def exif_segment(orientation: int, *, order: str = "<", signature: bytes = b"Exif\0\0", more: bytes = SECRET) -> bytes:
    """Exif as a camera writes it: the orientation is one of several entries, and other data follow."""
    entries = [(0x010F, 2, len(more), 50), (0x0112, 3, 1, orientation << 16 if order == ">" else orientation)]
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(
        struct.pack(f"{order}HHII", *entry) for entry in entries
    )
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return segment(0xE1, signature + (head + directory + bytes(4)).ljust(50, b"\0") + more)


def minimal(orientation: int) -> bytes:
    return segment(0xE1, b"Exif\0\0" + exif.minimal(orientation))


def jfif(thumbnail: bytes = b"\0\0") -> bytes:
    return segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48" + thumbnail)


TABLES = segment(0xDB, bytes(65)) + segment(0xC4, bytes(17)) + segment(0xDD, b"\0\4")
ICC = segment(0xE2, b"ICC_PROFILE\0\1\1" + b"a profile" * 100)
ADOBE = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")
THUMBNAIL = SOI + TABLES + frame() + scan(data=SECRET) + EOI
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + SECRET)

REMOVED = {
    "JFIF extension with a thumbnail": segment(0xE0, b"JFXX\0\x10" + THUMBNAIL),
    "short JFIF": segment(0xE0, b"JFIF\0" + SECRET[:8]),
    "Exif with position, serial number, date, maker note": exif_segment(1),
    "Exif with a thumbnail": exif_segment(1, more=THUMBNAIL),
    "Exif that is damaged": segment(0xE1, b"Exif\0\0" + SECRET),
    "XMP": XMP,
    "extended XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + SECRET),
    "multi-picture index": segment(0xE2, b"MPF\0" + SECRET),
    "FlashPix": segment(0xE2, b"FPXR\0" + SECRET),
    "maker's own": segment(0xE4, SECRET),
    "C2PA": segment(0xEB, b"JP\0\1\0\0\0\1" + b"jumb" + SECRET),
    "Ducky": segment(0xEC, b"Ducky\0" + SECRET),
    "IPTC": segment(0xED, b"Photoshop 3.0\08BIM\4\4" + SECRET),
    "not Adobe's APP14": segment(0xEE, SECRET),
    "short Adobe": segment(0xEE, b"Adobe" + SECRET[:5]),
    "APP15": segment(0xEF, SECRET),
    "comment": segment(0xFE, SECRET),
    "empty comment": segment(0xFE, b""),
    "junk": SECRET,
    "junk that looks like entropy-coded data": b"\xff\0" + SECRET + b"\xff\xd0",
    "fill bytes": b"\xff\xff\xff",
    "TEM": b"\xff\1",
}


def with_header(*segments: bytes) -> bytes:
    """Return a file with these segments before its tables."""
    return SOI + b"".join(segments) + TABLES + frame() + scan() + EOI


def _made(**options: object) -> bytes:
    """Return a photo with every kind of metadata that Pillow writes."""
    image = Image.effect_noise((72, 48), 60).convert("RGB")
    metadata = Image.Exif()
    metadata[0x0112], metadata[0x010F], metadata[0x9003] = 6, "Maker", "2024:05:06 07:08:09"
    metadata.get_ifd(0x8769).update({0xA431: "Serial 4711", 0x927C: b"a maker note"})
    metadata.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    file = io.BytesIO()
    image.save(
        file,
        "JPEG",
        **{
            "exif": metadata,
            "icc_profile": b"a profile" * 100,
            "xmp": b"<x:xmpmeta>" + SECRET,
            "comment": SECRET,
            "quality": 90,
            **options,
        },
    )
    return file.getvalue()


MADE = {
    "baseline": _made(),
    "progressive": _made(progressive=True),
    "restart markers": _made(restart_marker_blocks=1),
    "progressive, restart markers": _made(progressive=True, restart_marker_blocks=2),
    "a thumbnail, an MPF index, a second image": (FOLDER / "frame_size.mpo").read_bytes(),
    "a trailer": _made() + b"\0\0\0\x18ftypmp42" + SECRET,
}
REAL = {path.name: path.read_bytes() for path in [*FOLDER.glob("*.jpg"), *FOLDER.glob("*.mpo")]}
BUILT = {
    "everything removed": with_header(jfif(b"\1\1" + SECRET[:3]), *REMOVED.values(), ICC, ADOBE, exif_segment(6)),
    "between scans": SOI + frame(0xC2) + (scan() + TABLES + segment(0xFE, SECRET)) * 3 + scan(1) + EOI + SECRET,
    "height after the scan": SOI + TABLES + frame(height=0) + scan() + segment(0xDC, b"\0\7") + EOI,
}
ALL = {**MADE, **REAL, **BUILT}
named = pytest.mark.parametrize("photo", ALL.values(), ids=ALL)


def _displayed(photo: bytes) -> tuple[tuple[int, int], bytes, object, str]:
    """Return size, pixels, colour profile and mode of a photo as it is displayed."""
    with Image.open(io.BytesIO(photo)) as image:
        upright = ImageOps.exif_transpose(image)
        return upright.size, upright.tobytes(), image.info.get("icc_profile"), image.mode


# What stays.


@pytest.mark.parametrize("name", sorted((MADE | REAL).keys() - {"truncated_jpeg.jpg"}))  # Pillow decodes no part
def test_is_displayed_as_before(name: str) -> None:
    photo = ALL[name]
    output = cleaned(JpegFilter, photo)
    assert _displayed(output) == _displayed(photo)
    assert dimensions(JpegFilter, photo) == dimensions(JpegFilter, output) == _displayed(photo)[0]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_keeps_colours_and_orientation(mode: str, orientation: int) -> None:
    image = Image.effect_noise((24, 16), 60).convert("RGB")
    metadata = Image.Exif()
    metadata[0x0112] = orientation
    file = io.BytesIO()
    image.convert(mode).save(file, "JPEG", exif=metadata)  # Pillow writes APP14 for CMYK
    photo = file.getvalue()
    output = cleaned(JpegFilter, photo)
    assert _displayed(output) == _displayed(photo)
    assert dimensions(JpegFilter, photo) == ((16, 24) if orientation >= 5 else (24, 16))


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(jfif(), id="JFIF"),
        pytest.param(ICC * 2, id="colour profile in two segments"),
        pytest.param(ADOBE, id="Adobe's colour transform"),
        pytest.param(minimal(6), id="orientation"),
        pytest.param(segment(0xDB, bytes(65)), id="DQT"),
        pytest.param(segment(0xC4, bytes(17)), id="DHT"),
        pytest.param(segment(0xCC, b"\0\0"), id="DAC"),
        pytest.param(segment(0xDD, b"\0\0"), id="DRI"),
    ],
)
def test_keeps_what_changes_how_a_photo_is_displayed(kept: bytes) -> None:
    assert cleaned(JpegFilter, with_header(kept)) == with_header(kept)


@pytest.mark.parametrize("marker", sorted({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}))
def test_keeps_frames_of_every_type(marker: int) -> None:
    photo = SOI + frame(marker) + scan() + EOI
    assert cleaned(JpegFilter, photo) == photo
    assert dimensions(JpegFilter, photo) == Dimensions(3, 2)


@pytest.mark.parametrize("marker", [0xC0, 0xC2])
@pytest.mark.parametrize("data", [b"\xff\0" * 9, b"a\xff\xd0b\xff\xd7c", b"\xff\xff\0", b""])
def test_keeps_entropy_coded_data(marker: int, data: bytes) -> None:
    photo = SOI + frame(marker) + scan(data=data) + EOI
    assert cleaned(JpegFilter, photo) == photo


def test_keeps_scans_and_the_tables_between_them() -> None:
    dropped = XMP + segment(0xFE, SECRET) + SECRET + ICC + ADOBE + jfif() + exif_segment(6)
    photo = SOI + frame(0xC2) + scan(3) + TABLES + scan(1) + scan(1) + EOI
    full = SOI + frame(0xC2) + scan(3) + dropped + TABLES + dropped + scan(1) + dropped + scan(1) + dropped + EOI
    assert cleaned(JpegFilter, full) == photo
    assert dimensions(JpegFilter, full) == Dimensions(3, 2)


def test_keeps_the_scans_of_a_sequential_frame_with_one_component_each() -> None:
    full = SOI + frame(0xC1) + (scan(1) + segment(0xFE, SECRET)) * 3 + EOI
    assert cleaned(JpegFilter, full) == SOI + frame(0xC1) + scan(1) * 3 + EOI


def test_takes_the_height_from_after_the_first_scan() -> None:
    photo = BUILT["height after the scan"]
    assert cleaned(JpegFilter, photo) == photo
    assert dimensions(JpegFilter, photo) == Dimensions(3, 7)
    assert dimensions(JpegFilter, SOI + frame(0xC2) + scan() + segment(0xDC, b"\0\7") + EOI) == Dimensions(3, 2)


# What goes.


@pytest.mark.parametrize("removed", REMOVED.values(), ids=REMOVED)
def test_drops(removed: bytes) -> None:
    assert cleaned(JpegFilter, with_header(removed)) == with_header()
    assert cleaned(JpegFilter, with_header(jfif(), removed, ICC)) == with_header(jfif(), ICC)


@pytest.mark.parametrize("marker", [0xC0, 0xC2])
def test_drops_what_follows_the_first_image(marker: int) -> None:
    photo = SOI + frame(marker) + scan() + EOI
    assert cleaned(JpegFilter, photo + XMP + photo) == photo


def test_drops_thumbnails_and_other_data_in_segments_that_it_keeps() -> None:
    assert cleaned(JpegFilter, with_header(jfif(b"\1\1" + SECRET))) == with_header(jfif())
    longer = segment(0xEE, ADOBE[4:] + SECRET)
    assert cleaned(JpegFilter, with_header(longer)) == with_header(ADOBE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("signature", [b"Exif\0\0", b"Exif\0\xff"])
@pytest.mark.parametrize("orientation", range(10))
def test_keeps_of_exif_the_orientation_alone(order: str, signature: bytes, orientation: int) -> None:
    photo = with_header(jfif(), exif_segment(orientation, order=order, signature=signature), ICC)
    kept = minimal(orientation) if 2 <= orientation <= 8 else b""
    assert cleaned(JpegFilter, photo) == with_header(jfif(), kept, ICC)
    assert len(minimal(6)) == 36


def test_the_first_exif_that_is_valid_decides() -> None:
    damaged = REMOVED["Exif that is damaged"]
    photo = with_header(damaged, exif_segment(6), ICC, exif_segment(3), XMP)
    assert cleaned(JpegFilter, photo) == with_header(minimal(6), ICC)
    assert cleaned(JpegFilter, with_header(exif_segment(1), exif_segment(6))) == with_header()


def test_takes_exif_between_the_frame_and_the_first_scan() -> None:
    photo = SOI + frame() + exif_segment(6) + scan() + EOI
    assert cleaned(JpegFilter, photo) == SOI + frame() + minimal(6) + scan() + EOI
    assert dimensions(JpegFilter, photo) == Dimensions(2, 3)


def test_dimensions_are_known_with_the_frame() -> None:
    photo_filter = JpegFilter()
    photo_filter.feed(memoryview(SOI + exif_segment(6)))
    assert photo_filter.dimensions is None
    photo_filter.feed(memoryview(frame(width=65535, height=1)))
    assert photo_filter.dimensions == Dimensions(1, 65535)


@pytest.mark.parametrize("size", [{"width": 0}, {"height": 0}])
def test_a_frame_without_a_size_has_no_dimensions(size: dict[str, int]) -> None:
    assert dimensions(JpegFilter, SOI + frame(**size) + scan() + EOI) is None


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("photo", MADE.values(), ids=MADE)
def test_exiftool_finds_no_metadata(photo: bytes) -> None:
    groups = {"EXIF", "IFD0", "ExifIFD", "GPS", "XMP", "IPTC", "MPF0", "MakerNotes", "Trailer", "Photoshop"}
    before, after = tags(photo), tags(cleaned(JpegFilter, photo))
    assert {tag.partition(":")[0] for tag in before} & groups
    assert {tag for tag in after if tag.partition(":")[0] in groups} <= {"IFD0:Orientation"}
    assert "File:Comment" not in after


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_finds_what_there_was() -> None:
    before = set(tags(MADE["baseline"]))
    assert before >= {
        "GPS:GPSLatitude",
        "ExifIFD:SerialNumber",
        "IFD0:DateTimeOriginal",
        "ExifIFD:MakerNoteUnknownText",
        "File:Comment",
        "IFD0:Orientation",
    }


# Files that are cut off or damaged.


@named
def test_the_output_is_the_same_byte_by_byte_and_when_filtered_again(photo: bytes) -> None:
    output = cleaned(JpegFilter, photo)
    assert cleaned(JpegFilter, photo, range(1, len(photo))) == output
    assert cleaned(JpegFilter, output) == output
    assert SECRET not in output


@settings(max_examples=examples(200))
@given(st.sampled_from(list(ALL.values())), st.lists(st.integers(0, 2**15), max_size=6))
def test_the_output_is_the_same_however_the_photo_is_cut(photo: bytes, cuts: Iterable[int]) -> None:
    assert cleaned(JpegFilter, photo, (min(cut, len(photo)) for cut in cuts)) == cleaned(JpegFilter, photo)


@pytest.mark.parametrize("photo", BUILT.values(), ids=BUILT)
def test_a_truncated_file_passes_as_far_as_it_goes(photo: bytes) -> None:
    whole = cleaned(JpegFilter, photo)
    for end in range(len(photo)):
        output = cleaned(JpegFilter, photo[:end])
        assert whole.startswith(output)
        assert cleaned(JpegFilter, output) == output
        assert SECRET[:8] not in output


def test_a_truncated_scan_keeps_its_pixels() -> None:
    for marker in (0xC0, 0xC2):
        for data in (b"pixels", b"pixels\xff", b"pixels\xff\xff"):
            photo = SOI + frame(marker) + scan(data=data)
            assert cleaned(JpegFilter, photo) == photo


MALFORMED = {
    "no start": (b"\xff\xe0" + jfif(), "start marker"),
    "two starts": (with_header(SOI), "unsupported marker, FFD8"),
    "a segment of length 0": (with_header(b"\xff\xe1\0\0"), "shorter than its own length"),
    "a segment of length 1": (with_header(b"\xff\xdb\0\1"), "shorter than its own length"),
    "JPEG-LS": (SOI + segment(0xF7, frame()[4:]), "unsupported marker, FFF7"),
    "hierarchical": (SOI + segment(0xDE, frame()[4:]), "unsupported marker, FFDE"),
    "reserved": (SOI + segment(0x02, b""), "unsupported marker, FF02"),
    "reserved in a scan": (SOI + frame(0xC2) + scan(data=b"\xff\xbf\0\2") + EOI, "unsupported marker, FFBF"),
    "two frames": (SOI + frame() + frame() + scan() + EOI, "wrong place, FFC0"),
    "a scan without a frame": (SOI + scan() + EOI, "wrong place, FFDA"),
    "a number of lines before the scan": (SOI + frame(height=0) + segment(0xDC, b"\0\1"), "wrong place, FFDC"),
    "a frame that is too long": (SOI + segment(0xC0, frame()[4:] + SECRET) + scan(), "frame header"),
    "a frame that is too short": (SOI + segment(0xC0, b"\x08\0\1\0\1"), "frame header"),
    "an empty frame": (SOI + segment(0xC0, b""), "frame header"),
    "a scan that is too long": (SOI + frame() + segment(0xDA, scan(data=SECRET)[4:]), "scan header"),
    "an empty scan": (SOI + frame() + segment(0xDA, b""), "scan header"),
}


@pytest.mark.parametrize(("photo", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_rejects(photo: bytes, reason: str) -> None:
    assert reason in rejection(JpegFilter, photo)
    assert reason in rejection(JpegFilter, photo, range(1, len(photo)))


def test_has_a_limit_of_segments() -> None:
    comment = segment(0xFE, b"")
    assert cleaned(JpegFilter, SOI + comment * (MAX_SEGMENTS - 1) + EOI) == SOI + EOI
    assert "10000 segments" in rejection(JpegFilter, SOI + comment * 1_000_000 + EOI)
    assert "10000 segments" in rejection(JpegFilter, SOI + frame(0xC2) + scan(data=b"") * 1_000_000 + EOI)


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\0", b"\0", b"\xff\xd0"])
@pytest.mark.parametrize("chunk", [1024, MIB])
def test_junk_takes_linear_time(junk: bytes, chunk: int) -> None:
    """Reading it byte by byte, or from its beginning for each chunk, would exceed the time limit of the test."""
    photo = SOI + junk * (8 * MIB) + EOI
    assert cleaned(JpegFilter, photo, range(chunk, len(photo), chunk)) == SOI + EOI


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        pytest.param(SOI, exif_segment(6, more=bytes(65_000)), id="Exif"),
        pytest.param(SOI, segment(0xE2, b"ICC_PROFILE\0" + bytes(65_000)), id="colour profile"),
        pytest.param(SOI, XMP + bytes(65_000), id="junk"),
        pytest.param(SOI, b"\xff" * 65_000, id="fill bytes"),
        pytest.param(SOI + frame(0xC2), scan(data=b"\xff\0" * 32_000), id="scans"),
        pytest.param(SOI + frame() + scan(), bytes(65_000), id="pixels"),
    ],
)
def test_holds_less_than_1_mib(start: bytes, repeated: bytes) -> None:
    assert peak(JpegFilter, [start, *[repeated[:40_000], repeated[40_000:]] * 200]) < MIB


def test_damaged_files_pass_or_are_rejected() -> None:
    photos = [photo for photo in ALL.values() if len(photo) < 10_000]
    passed, total = fuzz(JpegFilter, photos, 3000)
    assert 0 < passed < total
