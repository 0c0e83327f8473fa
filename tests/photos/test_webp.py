"""WebP photos without their metadata: images, alpha, profile, orientation, animation and the length stay."""

import io
import shutil
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, ImageSequence

from recipe_api.photos import exif
from recipe_api.photos.webp import MAX_CHUNKS, WebpFilter
from tests.support.exiftool import tags
from tests.support.filters import FOLDER, cleaned, dimensions, fuzz, rejection

SECRET = b"52.520008N 13.404954E"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def _riff(*chunks: bytes, size: int | None = None) -> bytes:
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + (len(content) if size is None else size).to_bytes(4, "little") + content


def _exif(orientation: int = 6) -> bytes:
    properties = Image.Exif()
    properties[0x010F], properties[0x0112], properties[0x0132] = "A maker", orientation, "2024:05:06 07:08:09"
    properties.get_ifd(0x8769).update({0xA431: "serial 4711", 0x927C: b"maker note", 0x9003: "2024:05:06 07:08:09"})
    properties.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 17.0)})
    return properties.tobytes()


def _picture(color: str = "red") -> Image.Image:
    picture = Image.linear_gradient("L").resize((48, 24)).convert("RGBA")
    picture.paste(color, (0, 0, 16, 16))
    picture.putalpha(Image.linear_gradient("L").resize((48, 24)))
    return picture


def _made(**options: object) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + SECRET + b"</x:xmpmeta>"
    _picture().save(file, "WEBP", exif=_exif(), xmp=xmp, icc_profile=profile, **options)
    return file.getvalue()


def _vp8x(flags: int, width: int = 128, height: int = 128) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)


REAL = {path.name: path.read_bytes() for path in FOLDER.glob("*.webp")}
IMAGE = REAL["hopper.webp"][12:]
MADE = {
    "lossy": _made(quality=50),
    "lossless": _made(lossless=True),
    "animation": _made(
        save_all=True,
        append_images=[_picture("blue"), _picture("green")],
        duration=[70, 90, 200],
        loop=3,
        background=(1, 2, 3, 4),
    ),
    "unannounced": _riff(IMAGE, _chunk(b"EXIF", SECRET), _chunk(b"XMP ", SECRET), _chunk(b"abcd", SECRET)),
    "in a frame": _riff(
        _vp8x(0x02),
        _chunk(b"ANIM", bytes(6)),
        _chunk(b"ANMF", bytes(6) + b"\x7f\0\0\x7f\0\0\x64\0\0\0" + IMAGE + _chunk(b"abcd", SECRET)),
        _chunk(b"abcd", SECRET),
    ),
}
ALL = REAL | MADE


def _frames(photo: bytes) -> list[tuple[bytes, object, object]]:
    """Return the pixels, the time and the duration of each frame."""
    with Image.open(io.BytesIO(photo)) as image:
        return [
            (frame.convert("RGBA").tobytes(), frame.info.get("timestamp"), frame.info.get("duration"))
            for frame in ImageSequence.Iterator(image)
        ]


def _settings(photo: bytes) -> tuple[object, ...]:
    with Image.open(io.BytesIO(photo)) as image:
        orientation = image.getexif().get(0x0112, 1)
        info = image.info
        return image.size, image.mode, orientation, info.get("icc_profile"), info.get("loop"), info.get("background")


@pytest.mark.parametrize("name", [name for name in ALL if name != "anim_frame1.webp"])
def test_what_is_displayed_stays(name: str) -> None:
    output = cleaned(WebpFilter, ALL[name])
    assert len(output) == len(ALL[name])
    assert _frames(output) == _frames(ALL[name])
    assert _settings(output) == _settings(ALL[name])
    with Image.open(io.BytesIO(ALL[name])) as image:
        assert dimensions(WebpFilter, ALL[name]) == ImageOps.exif_transpose(image).size


def test_an_animation_keeps_its_durations_loops_and_background() -> None:
    output = cleaned(WebpFilter, MADE["animation"])
    assert [duration for _, _, duration in _frames(output)] == [70, 90, 200]
    assert _settings(output)[-2:] == (3, (1, 2, 3, 4))


@pytest.mark.parametrize("name", ["lossy", "lossless", "animation"])
def test_readers_find_only_the_orientation(name: str) -> None:
    with Image.open(io.BytesIO(MADE[name])) as before:
        assert (before.getexif()[0x010F], SECRET in before.info["xmp"]) == ("A maker", True)
    with Image.open(io.BytesIO(cleaned(WebpFilter, MADE[name]))) as after:
        assert dict(after.getexif()) == {0x0112: 6}
        assert "xmp" not in after.info


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("name", ["lossy", "lossless", "animation"])
def test_exiftool_finds_only_the_orientation(name: str) -> None:
    def found(photo: bytes) -> set[str]:
        groups = ("GPS:", "IFD", "ExifIFD:", "XMP", "MakerNotes", "IPTC", "ExifTool:Warning")
        return {tag for tag in tags(photo) if tag.startswith(groups)}

    assert {"GPS:GPSLatitude", "IFD0:Make", "ExifIFD:SerialNumber", "IFD0:Orientation"} <= found(MADE[name])
    assert found(cleaned(WebpFilter, MADE[name])) == {"IFD0:Orientation"}


@pytest.mark.parametrize("name", ALL)
def test_nothing_of_any_metadata_is_left(name: str) -> None:
    output = cleaned(WebpFilter, ALL[name])
    assert (SECRET in ALL[name]) == (name in MADE)
    for secret in (SECRET, b"A maker", b"serial 4711", b"maker note", b"2024:05:06"):
        assert secret not in output


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_exif_becomes_the_orientation_alone(orientation: int, prefix: bytes) -> None:
    written = prefix + _exif(orientation).removeprefix(b"Exif\0\0")
    photo = _riff(_vp8x(0x08), IMAGE, _chunk(b"EXIF", written))
    minimal = exif.minimal(orientation).ljust(len(written), b"\0")
    assert cleaned(WebpFilter, photo) == _riff(_vp8x(0x08), IMAGE, _chunk(b"EXIF", minimal))


def test_the_dimensions_follow_the_orientation() -> None:
    photo = _riff(_vp8x(0x08, 30, 20), _chunk(b"EXIF", _exif(6)), _chunk(b"EXIF", _exif(6)), IMAGE)
    assert dimensions(WebpFilter, photo) == (20, 30)
    assert dimensions(WebpFilter, photo[:30]) == (30, 20)
    assert dimensions(WebpFilter, photo[:29]) is None


@pytest.mark.parametrize("lossless", [False, True])
def test_a_photo_that_is_only_an_image_has_the_dimensions_of_its_bit_stream(*, lossless: bool) -> None:
    file = io.BytesIO()
    Image.new("RGB", (300, 5)).save(file, "WEBP", lossless=lossless)
    assert file.getvalue()[12:16] == (b"VP8L" if lossless else b"VP8 ")
    assert dimensions(WebpFilter, file.getvalue()) == (300, 5)
    assert dimensions(WebpFilter, _riff(_chunk(b"VP8L" if lossless else b"VP8 ", bytes(20)))) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (SECRET, exif.minimal(1)[: len(SECRET)]),
        (SECRET * 5000, exif.minimal(1).ljust(len(SECRET) * 5000, b"\0")),
        (exif.minimal(6)[:24], exif.minimal(6)[:24]),
        (exif.minimal(6) + SECRET * 4000, exif.minimal(6).ljust(26 + len(SECRET) * 4000, b"\0")),
    ],
    ids=["empty", "short", "long", "without the end", "more than is searched"],
)
def test_exif_keeps_its_length(content: bytes, expected: bytes) -> None:
    photo = _riff(_vp8x(0x08), IMAGE, _chunk(b"EXIF", content))
    assert cleaned(WebpFilter, photo) == _riff(_vp8x(0x08), IMAGE, _chunk(b"EXIF", expected))


def test_flags_of_xmp_and_reserved_ones_are_cleared() -> None:
    photo = _riff(_vp8x(0xFF).replace(b"\xff\0\0\0", b"\xff\1\2\3"), IMAGE)
    assert cleaned(WebpFilter, photo) == _riff(_vp8x(0x3A), IMAGE)


@pytest.mark.parametrize(
    ("chunk", "flags"),
    [
        pytest.param(_chunk(b"XMP ", SECRET), 0x04, id="XMP"),
        pytest.param(_chunk(b"EXIF", SECRET), 0x00, id="Exif that is not announced"),
        pytest.param(_chunk(b"abcd", SECRET), 0x00, id="unknown"),
        pytest.param(_chunk(b"JUNK", SECRET), 0x00, id="padding"),
        pytest.param(_chunk(b"VP8X", SECRET), 0x00, id="another header"),
        pytest.param(_chunk(b"ANMF", SECRET[:15]), 0x00, id="a frame that is too short"),
        pytest.param(_chunk(b"abcd", SECRET)[:-1] + b"p", 0x00, id="with a secret in its padding"),
    ],
)
def test_other_chunks_become_padding(chunk: bytes, flags: int) -> None:
    padding = _chunk(b"JUNK", bytes(int.from_bytes(chunk[4:8], "little")))
    assert cleaned(WebpFilter, _riff(_vp8x(flags), chunk, IMAGE, chunk)) == _riff(_vp8x(0), padding, IMAGE, padding)


@pytest.mark.parametrize("kind", [b"ICCP", b"VP8 ", b"EXIF", b"ANMF", b"abcd"])
def test_padding_becomes_zero(kind: bytes) -> None:
    chunk = _chunk(kind, exif.minimal(6) + b"\0")
    output = cleaned(WebpFilter, _riff(_vp8x(0x08), chunk[:-1] + b"s", IMAGE))
    assert output[30 + len(chunk) :] == IMAGE
    assert output[30 + len(chunk) - 1] == 0


def test_in_frames_only_images_stay() -> None:
    fields = bytes(range(16))
    frame = _chunk(b"ANMF", fields + IMAGE + _chunk(b"EXIF", SECRET) + _chunk(b"ICCP", SECRET) + b"tail")
    junk = _chunk(b"JUNK", bytes(len(SECRET)))
    expected = _riff(_vp8x(0x0A), _chunk(b"ANMF", fields + IMAGE + junk * 2 + bytes(4)))
    assert cleaned(WebpFilter, _riff(_vp8x(0x0A), frame)) == expected


def test_bytes_after_the_riff_are_dropped_and_bytes_that_are_not_a_chunk_are_blanked() -> None:
    assert cleaned(WebpFilter, REAL["hopper.webp"] + SECRET) == REAL["hopper.webp"]
    assert cleaned(WebpFilter, _riff(IMAGE, b"short") + SECRET) == _riff(IMAGE, bytes(5))
    assert cleaned(WebpFilter, _riff(size=0) + SECRET) == _riff(size=0)


def test_a_last_chunk_may_lack_its_padding() -> None:
    photo = _riff(IMAGE, _chunk(b"abcd", SECRET)[:-1])
    assert cleaned(WebpFilter, photo) == _riff(IMAGE, _chunk(b"JUNK", bytes(21))[:-1])


@pytest.mark.parametrize(
    "photo",
    [
        _riff(IMAGE, size=len(IMAGE)),
        _riff(_chunk(b"VP8 ", b"image").replace(b"\5\0\0\0", b"\xff\xff\xff\xff")),
        _riff(_vp8x(2), _chunk(b"ANMF", bytes(16) + b"VP8 \x09\0\0\0" + bytes(8)), IMAGE),
    ],
    ids=["than the file says", "than the file", "than its frame"],
)
def test_a_chunk_that_is_larger_than_the_space_for_it_is_rejected(photo: bytes) -> None:
    for cuts in (range(0), range(1, len(photo))):
        assert rejection(WebpFilter, photo, cuts) == "The WebP has a chunk that is larger than the space for it."


def test_the_number_of_chunks_is_bounded() -> None:
    frame = _chunk(b"ANMF", bytes(16) + _chunk(b"ALPH", b"") * (MAX_CHUNKS // 2))
    most = _riff(frame, *[_chunk(b"JUNK", b"")] * (MAX_CHUNKS // 2 - 1))
    assert cleaned(WebpFilter, most) == most
    assert (
        rejection(WebpFilter, _riff(most[12:], _chunk(b"JUNK", b""))) == f"The WebP has more than {MAX_CHUNKS} chunks."
    )


@pytest.mark.parametrize("name", ALL)
def test_chunks_make_no_difference_and_filtering_twice_changes_nothing(name: str) -> None:
    output = cleaned(WebpFilter, ALL[name])
    assert cleaned(WebpFilter, ALL[name], range(1, len(ALL[name]))) == output
    assert cleaned(WebpFilter, output) == output


@given(st.sampled_from(sorted(ALL)), st.lists(st.floats(0, 1), max_size=8))
def test_the_output_is_the_same_however_the_photo_is_cut(name: str, cuts: Iterable[float]) -> None:
    photo = ALL[name]
    assert cleaned(WebpFilter, photo, [int(cut * len(photo)) for cut in cuts]) == cleaned(WebpFilter, photo)


@pytest.mark.parametrize("name", ALL)
def test_a_photo_that_is_cut_off_passes_as_far_as_it_goes(name: str) -> None:
    whole = cleaned(WebpFilter, ALL[name])
    for end in range(len(ALL[name])):
        output = cleaned(WebpFilter, ALL[name][:end])
        assert len(output) <= end
        assert whole.startswith(output)


def test_damaged_files_are_cleaned_or_rejected() -> None:
    passed, total = fuzz(WebpFilter, list(ALL.values()), 3000)
    assert 0 < passed < total == 3000
