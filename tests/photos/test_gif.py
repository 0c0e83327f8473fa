"""GIFs without their metadata: the frames stay, with their durations, loops and colours."""

import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from recipe_api.photos.gif import MAX_BLOCKS, GifFilter
from tests.support.filters import FOLDER, cleaned, dimensions, fuzz, rejection

HEADER = b"GIF89a" + b"\x02\0\x03\0" + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
IMAGE = b",\0\0\0\0\x02\0\x03\0\0" + b"\x08\x07\0\x01\x08\x0c 0 \0"
CONTROL = b"!\xf9\x04\x08\x0a\0\0\0"
LOOP = b"!\xff\x0bNETSCAPE2.0\x03\x01\x05\0\0"
SECRET = b"52.520008N 13.404954E"


def _sub_blocks(data: bytes) -> bytes:
    return b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255)) + b"\0"


def _application(name: bytes, data: bytes) -> bytes:
    return b"!\xff\x0b" + name + _sub_blocks(data)


COMMENT = b"!\xfe" + _sub_blocks(SECRET * 20)
PLAIN_TEXT = b"!\x01\x0c" + b"\0\0\0\0\x10\0\x08\0\x08\x08\1\0" + _sub_blocks(SECRET)
XMP = b"!\xff\x0bXMP DataXMP<x:xmpmeta>" + SECRET + b"</x:xmpmeta>\1" + bytes(range(255, -1, -1)) + b"\0"
ICC = _application(b"ICCRGBG1012", b"a profile" * 100)


def _animation(comment: bytes) -> bytes:
    frames = [Image.new("RGB", (16, 8), color) for color in ("red", "green", "blue")]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=[100, 250, 400], loop=3, comment=comment
    )
    return file.getvalue()


def _frames(photo: bytes) -> list[tuple[bytes, object]]:
    """Return the pixels and the duration of each frame."""
    with Image.open(io.BytesIO(photo)) as image:
        return [
            (frame.convert("RGBA").tobytes(), frame.info.get("duration")) for frame in ImageSequence.Iterator(image)
        ]


def _settings(photo: bytes) -> tuple[object, ...]:
    with Image.open(io.BytesIO(photo)) as image:
        return image.size, image.info.get("loop"), image.info.get("background")


REAL = {path.name: path.read_bytes() for path in FOLDER.glob("*.gif")}
MADE = {
    "comment": _animation(comment=SECRET),
    "everything": HEADER
    + COMMENT
    + LOOP
    + XMP
    + CONTROL
    + COMMENT
    + IMAGE
    + ICC
    + CONTROL
    + PLAIN_TEXT
    + IMAGE
    + b";!",
    "stray zeros": HEADER + IMAGE + b"\0\0" + IMAGE + b";",
}
ALL = REAL | MADE


@pytest.mark.parametrize("name", [name for name in ALL if name not in {"decompression_bomb.gif", "zero_width.gif"}])
def test_what_is_displayed_stays(name: str) -> None:
    output = cleaned(GifFilter, ALL[name])
    assert _frames(output) == _frames(ALL[name])
    assert _settings(output) == _settings(ALL[name])


def test_an_animation_keeps_its_durations_and_loops() -> None:
    output = cleaned(GifFilter, MADE["comment"])
    assert [duration for _, duration in _frames(output)] == [100, 250, 400]
    assert _settings(output)[:2] == ((16, 8), 3)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(COMMENT, id="comment"),
        pytest.param(PLAIN_TEXT, id="plain text"),
        pytest.param(XMP, id="XMP"),
        pytest.param(_application(b"MGK8BIM0000", SECRET), id="IPTC, as ImageMagick writes it"),
        pytest.param(_application(b"fractint001", SECRET), id="another application"),
        pytest.param(b"!\xff\x04" + SECRET[:4] + _sub_blocks(SECRET), id="an application with a short name"),
        pytest.param(b"!\xff\0", id="an application without a name"),
        pytest.param(b"!\x42" + _sub_blocks(SECRET), id="an unknown extension"),
        pytest.param(b"!\x42\0", id="an empty extension"),
        pytest.param(b"!\xf9\x03abc\0", id="a graphic control that is too short"),
        pytest.param(b"!\xf9\0", id="a graphic control that is empty"),
    ],
)
def test_metadata_is_dropped_wherever_it_is(metadata: bytes) -> None:
    photo = metadata.join([HEADER, LOOP, CONTROL, IMAGE, CONTROL, IMAGE, b";"])
    assert cleaned(GifFilter, photo) == HEADER + LOOP + CONTROL + IMAGE + CONTROL + IMAGE + b";"


@pytest.mark.parametrize("kept", [LOOP, LOOP.replace(b"NETSCAPE2", b"ANIMEXTS1"), ICC, CONTROL])
def test_loops_profiles_and_graphic_controls_stay(kept: bytes) -> None:
    assert cleaned(GifFilter, HEADER + kept + IMAGE + b";") == HEADER + kept + IMAGE + b";"


def test_what_hides_behind_a_loop_count_or_a_graphic_control_is_dropped() -> None:
    loop = LOOP[:-1] + b"\x05\x02size" + _sub_blocks(SECRET)
    control = CONTROL.replace(b"\x04\x08\x0a\0\0\0", b"\x06\x08\x0a\0\0XX" + _sub_blocks(SECRET))
    assert cleaned(GifFilter, HEADER + loop + control + IMAGE + b";") == HEADER + LOOP + CONTROL + IMAGE + b";"


def test_the_number_of_sub_blocks_of_a_loop_count_is_bounded() -> None:
    loop = LOOP[:-1] + LOOP[-5:-1] * 1000
    kept = loop[: 14 + 8 * 4]
    assert cleaned(GifFilter, HEADER + loop + b"\0" + IMAGE + b";") == HEADER + kept + b"\0" + IMAGE + b";"


def test_a_graphic_control_of_plain_text_stays_as_browsers_apply_it_to_the_next_image() -> None:
    photo = HEADER + IMAGE + CONTROL + PLAIN_TEXT + IMAGE + b";"
    assert cleaned(GifFilter, photo) == HEADER + IMAGE + CONTROL + IMAGE + b";"
    assert _frames(cleaned(GifFilter, photo)) == _frames(photo)


def test_everything_after_the_trailer_is_dropped() -> None:
    assert cleaned(GifFilter, HEADER + IMAGE + b";" + SECRET * 1000) == HEADER + IMAGE + b";"


def test_nothing_of_any_metadata_is_left() -> None:
    for photo in MADE.values():
        assert SECRET not in cleaned(GifFilter, photo)
    assert SECRET in MADE["everything"]
    assert SECRET in MADE["comment"]


@pytest.mark.parametrize("name", ALL)
def test_chunks_make_no_difference_and_filtering_twice_changes_nothing(name: str) -> None:
    photo = ALL[name][:5000]
    output = cleaned(GifFilter, photo)
    assert cleaned(GifFilter, photo, range(1, len(photo))) == output
    assert cleaned(GifFilter, output) == output


@given(st.sampled_from(sorted(ALL)), st.lists(st.floats(0, 1), max_size=8))
def test_the_output_is_the_same_however_the_photo_is_cut(name: str, cuts: Iterable[float]) -> None:
    photo = ALL[name]
    assert cleaned(GifFilter, photo, [int(cut * len(photo)) for cut in cuts]) == cleaned(GifFilter, photo)


def test_a_photo_that_is_cut_off_passes_as_far_as_it_goes() -> None:
    photo = MADE["everything"]
    whole = cleaned(GifFilter, photo)
    for end in range(len(photo)):
        output = cleaned(GifFilter, photo[:end])
        assert whole.startswith(output)


@pytest.mark.parametrize(
    ("photo", "expected"),
    [(REAL["hopper.gif"], (128, 128)), (REAL["decompression_bomb.gif"], (32, 32)), (REAL["zero_width.gif"], None)],
    ids=["a portrait", "a frame that is larger than the screen", "an empty screen"],
)
def test_its_dimensions_are_those_of_the_screen(photo: bytes, expected: tuple[int, int] | None) -> None:
    assert dimensions(GifFilter, photo) == expected
    assert dimensions(GifFilter, photo[:13]) == expected
    assert dimensions(GifFilter, photo[:12]) is None


@pytest.mark.parametrize(
    "junk", [b"\1", b"\xff\xd8\xff\xe1", b"<", b"\0" * 257, b"\0" * 200 + IMAGE + b"\0" * 57], ids=repr
)
def test_bytes_that_are_not_a_block_are_rejected(junk: bytes) -> None:
    assert rejection(GifFilter, HEADER + IMAGE + junk + IMAGE + b";").startswith("The GIF has a block")


def test_the_number_of_blocks_is_bounded() -> None:
    assert cleaned(GifFilter, HEADER + b"!\xfe\0" * (MAX_BLOCKS - 1) + b";") == HEADER + b";"
    assert rejection(GifFilter, HEADER + b"!\xfe\0" * MAX_BLOCKS) == f"The GIF has more than {MAX_BLOCKS} blocks."


def test_damaged_files_are_cleaned_or_rejected() -> None:
    passed, total = fuzz(GifFilter, [photo for photo in ALL.values() if len(photo) < 5000], 3000)
    assert 0 < passed < total == 3000
