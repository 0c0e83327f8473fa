"""PNGs without their metadata: pixels, animation, colours and orientation stay."""

import io
import shutil
import struct
from binascii import crc32
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from recipe_api.photos import exif
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.png import MAX_EXIF_BYTES, MAX_SMALL_CHUNKS, PngFilter
from tests.support.examples import examples
from tests.support.exiftool import tags
from tests.support.filters import FOLDER, cleaned, dimensions, fuzz, peak, rejection

MIB = 1024 * 1024
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SECRET = b"52.520008N 13.404954E"


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))


def header(width: int = 3, height: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def exif_chunk(orientation: int, more: bytes = SECRET) -> bytes:
    entry = struct.pack("<HHIH2x", 0x0112, 3, 1, orientation)
    return chunk(b"eXIf", b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4) + more)


def minimal(orientation: int) -> bytes:
    return chunk(b"eXIf", exif.minimal(orientation))


IDAT, IEND = chunk(b"IDAT", b"pixels"), chunk(b"IEND")


def with_header(*chunks: bytes) -> bytes:
    """Return a file with these chunks before its pixels."""
    return SIGNATURE + header() + b"".join(chunks) + IDAT + IEND


KEPT = b"PLTE IDAT tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split()
REMOVED = {
    "text": chunk(b"tEXt", b"Comment\0" + SECRET),
    "compressed text": chunk(b"zTXt", b"Raw profile type iptc\0\0" + SECRET),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta>" + SECRET),
    "time": chunk(b"tIME", b"\x07\xe8\5\6\7\x08\x09"),
    "C2PA": chunk(b"caBX", b"\0\0\0\0jumb" + SECRET),
    "Exif with position, serial number, date, maker note": exif_chunk(1),
    "Exif that is damaged": chunk(b"eXIf", SECRET),
    "Exif with a wrong CRC": exif_chunk(6)[:-1] + b"-",
    "Exif of more than 64 KiB": exif_chunk(6, bytes(MAX_EXIF_BYTES)),
    "unknown": chunk(b"vpAg", SECRET),
    "unknown critical": chunk(b"ABCD", SECRET),
    "Apple's": chunk(b"iDOT", SECRET),
    "Microsoft's": chunk(b"msOG", SECRET),
    "another case": chunk(b"idat", SECRET),
}


def _saved(image: Image.Image, **options: object) -> bytes:
    """Return a photo with every kind of metadata that Pillow writes."""
    metadata = Image.Exif()
    metadata[0x0112], metadata[0x010F], metadata[0x9003] = 6, "Maker", "2024:05:06 07:08:09"
    metadata.get_ifd(0x8769).update({0xA431: "Serial 4711", 0x927C: b"a maker note"})
    metadata.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    text = PngInfo()
    text.add_text("Comment", SECRET.decode(), zip=False)
    text.add_text("Author", SECRET.decode() * 9, zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>" + SECRET.decode())
    text.add(b"tIME", b"\x07\xe8\5\6\7\x08\x09")
    file = io.BytesIO()
    given = {"exif": metadata, "icc_profile": b"a profile" * 99, "pnginfo": text, "dpi": (300, 300), **options}
    image.save(file, "PNG", **given)
    return file.getvalue()


def _animation() -> bytes:
    frames = [Image.effect_noise((24, 16), spread).convert("RGB") for spread in (20, 60, 100)]
    return _saved(frames[0], save_all=True, append_images=frames[1:], duration=[100, 250, 400], loop=3)


NOISE = Image.effect_noise((72, 48), 60)
MADE = {
    "colors": _saved(NOISE.convert("RGB")),
    "palette": _saved(NOISE.convert("P"), transparency=7),
    "gray and alpha": _saved(NOISE.convert("LA")),
    "16 bits": _saved(NOISE.convert("I;16")),
    "animation": _animation(),
    "trailer": _saved(NOISE) + b"\0\0\0\x18ftypmp42" + SECRET,
}
REAL = {name: (FOLDER / name).read_bytes() for name in ("pil136.png", "rgb_trns.png")}
BUILT = {
    "everything removed": with_header(*REMOVED.values(), exif_chunk(6), chunk(b"gAMA", b"\0\0\xb1\x8f")),
    "late Exif": SIGNATURE + header() + IDAT * 3 + exif_chunk(8) + chunk(b"tEXt", SECRET) + IEND + SECRET,
}
ALL = {**MADE, **REAL, **BUILT}
named = pytest.mark.parametrize("photo", ALL.values(), ids=ALL)


def _displayed(photo: bytes) -> tuple[object, ...]:
    """Return what a viewer displays: size and pixels, colour profile and transparency, frames and their times."""
    with Image.open(io.BytesIO(photo)) as image:
        kept = {name: image.info.get(name) for name in ("icc_profile", "transparency", "gamma", "dpi", "loop")}
        frames = [
            (frame.tobytes(), frame.info.get("duration"), frame.info.get("blend"))
            for frame in ImageSequence.Iterator(image)
        ]
        image.seek(0)
        upright = ImageOps.exif_transpose(image)
        return upright.size, upright.mode, upright.tobytes(), kept, frames


# What stays.


@pytest.mark.parametrize("photo", (MADE | REAL).values(), ids=MADE | REAL)
def test_is_displayed_as_before(photo: bytes) -> None:
    output = cleaned(PngFilter, photo)
    assert _displayed(output) == _displayed(photo)
    assert dimensions(PngFilter, photo) == dimensions(PngFilter, output) == _displayed(photo)[0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_keeps_the_orientation(orientation: int) -> None:
    metadata = Image.Exif()
    metadata[0x0112] = orientation
    photo = _saved(NOISE, exif=metadata)
    output = cleaned(PngFilter, photo)
    assert _displayed(output) == _displayed(photo)
    assert dimensions(PngFilter, photo) == ((48, 72) if orientation >= 5 else (72, 48))


@pytest.mark.parametrize("name", KEPT)
def test_keeps_what_changes_how_a_photo_is_displayed(name: bytes) -> None:
    photo = with_header(chunk(name, b"some data"), chunk(name), IDAT, chunk(name, bytes(70_000)))
    assert cleaned(PngFilter, photo) == photo


def test_passes_wrong_checksums_on() -> None:
    photo = with_header(chunk(b"gAMA", b"\0\0\xb1\x8f")[:-4] + b"-no-")
    assert cleaned(PngFilter, photo) == photo


def test_passes_chunks_that_are_kept_as_one_view() -> None:
    photo = with_header(*[IDAT] * 99)
    assert PngFilter().feed(memoryview(photo)) == [photo]


# What goes.


@pytest.mark.parametrize("removed", REMOVED.values(), ids=REMOVED)
def test_drops(removed: bytes) -> None:
    assert cleaned(PngFilter, with_header(removed)) == with_header()
    assert cleaned(PngFilter, SIGNATURE + header() + IDAT + removed + IEND) == with_header()


def test_drops_what_follows_the_end() -> None:
    assert cleaned(PngFilter, with_header() + SECRET + with_header()) == with_header()


@pytest.mark.parametrize("orientation", range(10))
def test_keeps_of_exif_the_orientation_alone(orientation: int) -> None:
    kept = minimal(orientation) if 2 <= orientation <= 8 else b""
    assert cleaned(PngFilter, with_header(exif_chunk(orientation))) == with_header(kept)


def test_keeps_the_orientation_of_exif_of_64_kib() -> None:
    largest = exif_chunk(6, bytes(MAX_EXIF_BYTES - 26))
    assert int.from_bytes(largest[:4], "big") == MAX_EXIF_BYTES
    assert cleaned(PngFilter, with_header(largest)) == with_header(minimal(6))


def test_the_first_exif_that_is_valid_decides() -> None:
    damaged = REMOVED["Exif that is damaged"], REMOVED["Exif with a wrong CRC"]
    photo = with_header(*damaged, exif_chunk(8), exif_chunk(3))
    assert cleaned(PngFilter, photo) == with_header(minimal(8))
    assert cleaned(PngFilter, with_header(exif_chunk(1), exif_chunk(6))) == with_header()


def test_takes_exif_after_the_pixels_though_browsers_ignore_it() -> None:
    photo = BUILT["late Exif"]
    assert cleaned(PngFilter, photo) == SIGNATURE + header() + IDAT * 3 + minimal(8) + IEND
    assert dimensions(PngFilter, photo) == Dimensions(3, 2)


def test_dimensions_are_known_with_the_header() -> None:
    photo_filter = PngFilter()
    photo_filter.feed(memoryview(SIGNATURE + header(2**31 - 1, 1)))
    assert photo_filter.dimensions == Dimensions(2**31 - 1, 1)
    photo_filter.feed(memoryview(exif_chunk(6)))
    assert photo_filter.dimensions == Dimensions(1, 2**31 - 1)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("photo", MADE.values(), ids=MADE)
def test_exiftool_finds_no_metadata(photo: bytes) -> None:
    groups = {"IFD0", "ExifIFD", "GPS", "XMP"}
    names = {"PNG:Comment", "PNG:Author", "PNG:ModifyDate", "PNG:XMP"}
    before, after = tags(photo), tags(cleaned(PngFilter, photo))
    assert set(before) >= {
        "GPS:GPSLatitude",
        "ExifIFD:SerialNumber",
        "IFD0:DateTimeOriginal",
        "ExifIFD:MakerNoteUnknownText",
        "PNG:Comment",
        "PNG:Author",
        "PNG:ModifyDate",
        "IFD0:Orientation",
    }
    assert {tag for tag in after if tag.partition(":")[0] in groups or tag in names} == {"IFD0:Orientation"}


# Files that are cut off or damaged.


@named
def test_the_output_is_the_same_byte_by_byte_and_when_filtered_again(photo: bytes) -> None:
    output = cleaned(PngFilter, photo)
    assert cleaned(PngFilter, photo, range(1, len(photo))) == output
    assert cleaned(PngFilter, output) == output
    assert SECRET not in output


@settings(max_examples=examples(200))
@given(st.sampled_from(list(ALL.values())), st.lists(st.integers(0, 2**15), max_size=6))
def test_the_output_is_the_same_however_the_photo_is_cut(photo: bytes, cuts: Iterable[int]) -> None:
    assert cleaned(PngFilter, photo, (min(cut, len(photo)) for cut in cuts)) == cleaned(PngFilter, photo)


@pytest.mark.parametrize("photo", [BUILT["late Exif"], REAL["pil136.png"]], ids=["late Exif", "pil136.png"])
def test_a_truncated_file_passes_as_far_as_it_goes(photo: bytes) -> None:
    whole = cleaned(PngFilter, photo)
    for end in range(len(photo)):
        output = cleaned(PngFilter, photo[:end])
        assert whole.startswith(output)
        assert cleaned(PngFilter, output) == output
        assert SECRET[:8] not in output


def test_truncated_pixels_pass() -> None:
    photo = with_header()
    for end in range(photo.index(b"pixels"), len(photo) - len(IEND)):
        assert cleaned(PngFilter, photo[:end]) == photo[:end]


MALFORMED = {
    "no signature": (b"\x89PNG\n" + with_header()[5:], "signature"),
    "no header": (SIGNATURE + IDAT + IEND + SECRET, "begin with its header"),
    "a header of another length": (SIGNATURE + chunk(b"IHDR", bytes(20)), "begin with its header"),
    "Apple's variant": (SIGNATURE + chunk(b"CgBI", bytes(4)) + header(), "begin with its header"),
    "two headers": (with_header(header()), "two headers"),
    "no width": (SIGNATURE + header(0, 1), "width or height"),
    "no height": (SIGNATURE + header(1, 0), "width or height"),
    "too wide": (SIGNATURE + header(2**31, 1), "width or height"),
    "too high": (SIGNATURE + header(1, 2**31), "width or height"),
    "a chunk of 2 GiB": (SIGNATURE + header() + b"\x80\0\0\0tEXt", "invalid length"),
    "pixels of 4 GiB": (SIGNATURE + header() + b"\xff\xff\xff\xffIDAT", "invalid length"),
    "an end with data": (SIGNATURE + header() + IDAT + chunk(b"IEND", SECRET), "invalid length"),
    "a type with a digit": (with_header(chunk(b"tEX7", SECRET)), "four letters"),
    "a type that is not ASCII": (with_header(chunk("tEß".encode(), SECRET)), "four letters"),
    "a chunk that is longer than it says": (with_header(chunk(b"IDAT", SECRET) + b"more"), "four letters"),
}


@pytest.mark.parametrize(("photo", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_rejects(photo: bytes, reason: str) -> None:
    assert reason in rejection(PngFilter, photo)
    assert reason in rejection(PngFilter, photo, range(1, len(photo)))


def test_passes_the_longest_chunk_as_far_as_it_goes() -> None:
    photo = SIGNATURE + header() + b"\x7f\xff\xff\xffIDAT" + bytes(100_000)
    assert cleaned(PngFilter, photo) == photo


def test_has_a_limit_of_small_chunks() -> None:
    start, small = SIGNATURE + header(), chunk(b"tEXt")
    assert cleaned(PngFilter, start + small * (MAX_SMALL_CHUNKS - 1) + IEND) == start + IEND
    assert "100000 small chunks" in rejection(PngFilter, start + small * MAX_SMALL_CHUNKS + IEND)
    assert "100000 small chunks" in rejection(PngFilter, start + chunk(b"IDAT") * 1_000_000)


@pytest.mark.parametrize("name", [b"eXIf", b"iCCP", b"tEXt", b"IDAT"])
def test_holds_less_than_1_mib(name: bytes) -> None:
    start, repeated = SIGNATURE + header(), chunk(name, bytes(MAX_EXIF_BYTES))
    assert peak(PngFilter, [start, *[repeated[:40_000], repeated[40_000:]] * 200]) < MIB
    longest = struct.pack(">I", 2**31 - 1) + name
    assert peak(PngFilter, [start, longest, *[bytes(40_000)] * 400]) < MIB


def test_damaged_files_pass_or_are_rejected() -> None:
    photos = [photo for photo in ALL.values() if len(photo) < 10_000]
    passed, total = fuzz(PngFilter, photos, 3000)
    assert 0 < passed < total
