"""HEIC, HEIF and AVIF without their metadata: every image byte stays where it is."""

import io
import shutil
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace

import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageSequence

from recipe_api.photos.extents import MAX_EXTENTS
from recipe_api.photos.heif import MAX_BOXES, MAX_INDEX_BYTES, WINDOW_BYTES, HeifFilter
from recipe_api.photos.heif_items import MAX_ITEMS, MAX_PROPERTIES
from tests.support.exiftool import tags
from tests.support.filters import FOLDER, cleaned, dimensions, fuzz, rejection
from tests.support.heif import FTYP, HANDLER, PIXELS, Item, Layout, box, full, heif, infe, iprp, ispe, meta, number

SECRET = b"52.520008N 13.404954E"
EXIF = Item(b"Exif", b"\0\0\0\0II*\0\x08\0\0\0" + SECRET * 3)
XMP = Item(b"mime", b"<x:xmpmeta>" + SECRET * 3 + b"</x:xmpmeta>", (b"", b"application/rdf+xml"))
DATA_FIRST = Layout(is_data_first=True)
EMPTY_EXIF = b"\0\0\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"
EMPTY_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def _picture(color: str = "red") -> Image.Image:
    picture = Image.linear_gradient("L").resize((192, 96)).convert("RGB")
    picture.paste(color, (0, 0, 64, 64))
    return picture


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "A maker", "2024:05:06 07:08:09"
    exif.get_ifd(0x8769).update({0xA431: "serial 4711", 0x927C: b"maker note", 0x9003: "2024:05:06 07:08:09"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 17.0)})
    return exif.tobytes()


def _made(kind: str, **options: object) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + SECRET + b"</x:xmpmeta>"
    _picture().save(file, kind, exif=_exif(), xmp=xmp, icc_profile=profile, **options)
    return file.getvalue()


pillow_heif.register_heif_opener()
REAL = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in {".avif", ".heif"}}
MADE = {
    "made.avif": _made("AVIF"),
    "made.heic": _made("HEIF", thumbnails=[64], save_all=True, append_images=[_picture("blue")]),
    "animation.avif": _made(
        "AVIF", save_all=True, append_images=[_picture("blue"), _picture("green")], duration=[70, 90, 200]
    ),
}
SYNTHETIC = {
    "index first": heif(PIXELS, EXIF, XMP, layout=Layout(gap=SECRET), after=box(b"uuid", SECRET * 9)),
    "data first": heif(PIXELS, EXIF, XMP, layout=replace(DATA_FIRST, gap=SECRET)),
    "inside": heif(PIXELS, replace(EXIF, method=1), replace(XMP, method=1), replace(PIXELS, method=1)),
}
ALL = REAL | MADE | SYNTHETIC


def _frames(photo: bytes) -> list[tuple[bytes, object]]:
    """Return the pixels and the duration of each frame."""
    with Image.open(io.BytesIO(photo)) as image:
        return [
            (frame.convert("RGBA").tobytes(), frame.info.get("duration")) for frame in ImageSequence.Iterator(image)
        ]


def _settings(photo: bytes) -> tuple[object, ...]:
    with Image.open(io.BytesIO(photo)) as image:
        return image.size, image.mode, image.info.get("icc_profile"), image.info.get("loop")


@pytest.mark.parametrize("name", REAL | MADE)
def test_what_is_displayed_stays(name: str) -> None:
    photo = ALL[name]
    output = cleaned(HeifFilter, photo)
    assert len(output) == len(photo)
    assert _frames(output) == _frames(photo)
    assert _settings(output) == _settings(photo)
    assert dimensions(HeifFilter, photo) == _settings(photo)[0]


def test_an_animation_keeps_its_durations() -> None:
    assert [duration for _, duration in _frames(cleaned(HeifFilter, MADE["animation.avif"]))] == [70, 90, 200]


@pytest.mark.parametrize("name", MADE)
def test_readers_find_no_metadata(name: str) -> None:
    with Image.open(io.BytesIO(MADE[name])) as before:
        assert before.getexif()[0x010F] == "A maker"
        assert SECRET in before.info.get("xmp", SECRET)
    with Image.open(io.BytesIO(cleaned(HeifFilter, MADE[name]))) as after:
        assert dict(after.getexif()) == {}
        assert after.info.get("xmp", EMPTY_XMP).strip() == EMPTY_XMP


def test_readers_find_no_thumbnails() -> None:
    assert pillow_heif.open_heif(MADE["made.heic"]).info["thumbnails"] == [64]
    output = pillow_heif.open_heif(cleaned(HeifFilter, MADE["made.heic"]))
    assert output.info["thumbnails"] == []
    assert len(output) == 2


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("name", MADE)
def test_exiftool_finds_no_metadata(name: str) -> None:
    private = {"GPS:GPSLatitude", "IFD0:Make", "IFD0:ModifyDate", "ExifIFD:DateTimeOriginal", "ExifIFD:SerialNumber"}
    assert private <= tags(MADE[name]).keys()
    left = {tag: value for tag, value in tags(cleaned(HeifFilter, MADE[name])).items() if not tag.startswith("System:")}
    assert not [tag for tag in left if tag.startswith(("GPS:", "IFD0:", "ExifIFD:", "XMP", "MakerNotes", "IPTC"))]
    dates = {value for tag, value in left.items() if tag.endswith(("CreateDate", "ModifyDate"))}
    assert dates <= {"0000:00:00 00:00:00"}


@pytest.mark.parametrize("name", ALL)
def test_nothing_of_any_metadata_is_left(name: str) -> None:
    output = cleaned(HeifFilter, ALL[name])
    assert (SECRET in ALL[name]) == (name not in REAL)
    for secret in (SECRET, b"A maker", b"serial 4711", b"maker note", b"2024:05:06"):
        assert secret not in output


@pytest.mark.parametrize("iloc_version", [0, 1, 2])
@pytest.mark.parametrize("sizes", [(4, 4, 0, 0), (4, 4, 4, 0), (8, 8, 8, 4), (4, 8, 8, 8)])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("is_data_first", [False, True])
def test_items_are_found_however_their_places_are_written(
    iloc_version: int, sizes: tuple[int, int, int, int], pieces: int, *, is_data_first: bool
) -> None:
    layout = Layout(iloc_version=iloc_version, sizes=sizes, is_data_first=is_data_first, gap=b"a gap")
    pixels, exif = replace(PIXELS, pieces=pieces), replace(EXIF, pieces=pieces)
    empty = replace(exif, data=EMPTY_EXIF.ljust(len(EXIF.data), b"\0"))
    assert cleaned(HeifFilter, heif(pixels, exif, layout=layout)) == heif(
        pixels, empty, layout=replace(layout, gap=bytes(5))
    )


@pytest.mark.parametrize("method", [0, 1])
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(EXIF, EMPTY_EXIF, id="Exif"),
        pytest.param(replace(EXIF, data=SECRET[:17]), b"", id="Exif that is too short"),
        pytest.param(XMP, EMPTY_XMP + b" " * 100, id="XMP"),
        pytest.param(replace(XMP, data=SECRET), b" " * 100, id="XMP that is too short"),
        pytest.param(replace(XMP, texts=(b"", b"application/rdf+xml", b"deflate")), b"", id="compressed XMP"),
        pytest.param(replace(XMP, texts=(b"", b"text/plain")), b"", id="another type of text"),
        pytest.param(Item(b"mime", SECRET), b"", id="text without a type"),
        pytest.param(Item(b"uri ", SECRET, (b"", b"tag:apple.com,2023")), b"", id="uri"),
        pytest.param(Item(b"iptc", SECRET), b"", id="IPTC"),
        pytest.param(Item(b"rgan", SECRET), b"", id="regions"),
        pytest.param(Item(b"abcd", SECRET), b"", id="an unknown item"),
    ],
)
def test_an_item_that_is_not_an_image_becomes_an_empty_document(item: Item, expected: bytes, method: int) -> None:
    size = len(item.data)
    empty = replace(item, data=expected[:size].ljust(size, b"\0"))
    photo = heif(PIXELS, replace(item, method=method), replace(PIXELS, method=method))
    assert cleaned(HeifFilter, photo) == heif(PIXELS, replace(empty, method=method), replace(PIXELS, method=method))


@pytest.mark.parametrize("kind", [b"av01", b"grid", b"iovl", b"tmap", b"j2k1", b"unci"])
@pytest.mark.parametrize("method", [0, 1])
def test_images_stay(kind: bytes, method: int) -> None:
    photo = heif(PIXELS, Item(kind, SECRET, method=method))
    assert cleaned(HeifFilter, photo) == photo


def test_an_item_inside_another_stays_or_goes_with_it() -> None:
    photo = heif(PIXELS, replace(PIXELS, data=b"", method=2, base=1), replace(EXIF, data=b"", method=2, base=4), EXIF)
    output = cleaned(HeifFilter, photo)
    assert output == photo.replace(EXIF.data, EMPTY_EXIF.ljust(len(EXIF.data), b"\0"))
    hidden = heif(PIXELS, replace(PIXELS, data=b"", method=2, base=3), EXIF)
    assert rejection(HeifFilter, hidden).endswith("the data of an image is in an item that is not an image.")
    hidden = heif(PIXELS, replace(EXIF, data=b"", method=2, base=1))
    assert rejection(HeifFilter, hidden).endswith("the data of a metadata item is in an image.")


def test_images_may_share_their_data() -> None:
    photo = heif(PIXELS, PIXELS)
    second = photo.index(PIXELS.data) + len(PIXELS.data)
    shared = photo.replace(number(second), number(second - 100))
    assert cleaned(HeifFilter, shared) == shared[:-100] + bytes(100)


def test_names_of_items_become_spaces() -> None:
    photo = heif(replace(PIXELS, texts=(SECRET,)), replace(XMP, texts=(SECRET, b"application/rdf+xml")))
    output = cleaned(HeifFilter, photo)
    assert SECRET not in output
    assert b"mime" + b" " * len(SECRET) + b"\0application/rdf+xml\0" in output
    assert EMPTY_XMP in output


def test_the_name_of_the_handler_and_addresses_are_removed() -> None:
    dinf = box(b"dinf", full(b"dref", 0, number(1), full(b"url ", 0, SECRET, flags=1)))
    named = HANDLER[:-1] + b"w"
    photo = heif(PIXELS, layout=Layout(extra=dinf)).replace(HANDLER, named)
    output = cleaned(HeifFilter, photo)
    assert named in photo
    assert HANDLER in output
    assert SECRET not in output
    assert rejection(HeifFilter, photo.replace(b"url \0\0\0\1", b"url \0\0\0\0")).endswith(
        "its data is in another file."
    )


@pytest.mark.parametrize(
    "vendor",
    [
        pytest.param(box(b"uuid", SECRET), id="uuid"),
        pytest.param(box(b"udta", box(b"name", SECRET)), id="udta"),
        pytest.param(box(b"sefd", SECRET), id="sefd"),
        pytest.param(box(b"mpvd", FTYP, SECRET), id="the video of a motion photo"),
        pytest.param(box(b"free", SECRET), id="free"),
        pytest.param(box(b"uuid", SECRET, size=1), id="64 bits of size"),
    ],
)
@pytest.mark.parametrize("is_data_first", [False, True])
def test_other_boxes_become_free_space(vendor: bytes, *, is_data_first: bool) -> None:
    content = vendor[16 if vendor[:4] == b"\0\0\0\1" else 8 :]
    freed = vendor[:4] + b"free" + vendor[8 : len(vendor) - len(content)] + bytes(len(content))
    layout = Layout(is_data_first=is_data_first, between=vendor)
    expected = heif(PIXELS, layout=replace(layout, between=freed), after=freed * 2)
    assert cleaned(HeifFilter, heif(PIXELS, layout=layout, after=vendor * 2)) == expected


@pytest.mark.parametrize(
    "part", [box(b"uuid", SECRET), box(b"xml ", SECRET), box(b"bxml", SECRET), box(b"abcd", SECRET)]
)
def test_other_parts_of_the_index_become_free_space(part: bytes) -> None:
    freed = box(b"free", bytes(len(SECRET)))
    assert cleaned(HeifFilter, heif(PIXELS, layout=Layout(extra=part))) == heif(PIXELS, layout=Layout(extra=freed))


def test_a_last_box_reaches_to_the_end() -> None:
    layout = Layout(data_size=0, gap=SECRET)
    assert cleaned(HeifFilter, heif(PIXELS, EXIF, layout=layout)) == heif(
        PIXELS, replace(EXIF, data=EMPTY_EXIF.ljust(len(EXIF.data), b"\0")), layout=replace(layout, gap=bytes(21))
    )
    assert cleaned(HeifFilter, heif(PIXELS, after=b"\0\0\0\0uuid" + SECRET)) == heif(
        PIXELS, after=b"\0\0\0\0free" + bytes(len(SECRET))
    )


def test_data_has_64_bits_of_size() -> None:
    photo = heif(PIXELS, EXIF, layout=Layout(data_size=1))
    assert cleaned(HeifFilter, photo) == photo.replace(EXIF.data, EMPTY_EXIF.ljust(len(EXIF.data), b"\0"))


@pytest.mark.parametrize(
    "junk", [b"junk", FTYP + box(b"moov", SECRET), b"\0\0\0\3junk" + SECRET, b"\0\0\0\1junk" + bytes(8) + SECRET]
)
def test_what_follows_the_last_box_is_dropped(junk: bytes) -> None:
    assert cleaned(HeifFilter, heif(PIXELS, after=junk)) == heif(PIXELS)


def test_a_thumbnail_becomes_an_item_that_readers_ignore() -> None:
    layout = Layout(references=((b"thmb", 2, [1]), (b"cdsc", 3, [1, 2])))
    photo = heif(PIXELS, Item(b"hvc1", SECRET), EXIF, layout=layout)
    output = cleaned(HeifFilter, photo)
    assert SECRET not in output
    assert infe(2, b"free", flags=1) in output
    assert infe(1, b"hvc1") in output


@pytest.mark.parametrize(
    ("primary", "references", "extra"),
    [
        pytest.param(2, [], b"", id="it is the primary item"),
        pytest.param(1, [(b"dimg", 3, [1, 2])], b"", id="another image is made of it"),
        pytest.param(1, [(b"dimg", 2, [3])], b"", id="it is made of other images"),
        pytest.param(1, [(b"auxl", 3, [2])], b"", id="it has an alpha channel"),
        pytest.param(1, [(b"thmb", 3, [2])], b"", id="it has a thumbnail itself"),
        pytest.param(1, [], box(b"grpl", full(b"altr", 0, number(9), number(2), number(1), number(2))), id="a group"),
    ],
)
def test_a_thumbnail_on_which_something_depends_stays(
    primary: int, references: list[tuple[bytes, int, list[int]]], extra: bytes
) -> None:
    layout = Layout(references=((b"thmb", 2, [1]), *references), extra=extra)
    photo = heif(PIXELS, Item(b"hvc1", SECRET), PIXELS, layout=layout)
    photo = photo.replace(full(b"pitm", 0, number(1, 2)), full(b"pitm", 0, number(primary, 2)))
    output = cleaned(HeifFilter, photo)
    assert infe(2, b"hvc1") in output
    assert SECRET in output


def test_a_thumbnail_that_has_left_the_window_stays() -> None:
    layout = Layout(is_data_first=True, references=((b"thmb", 2, [3]), (b"thmb", 1, [3])))
    photo = heif(
        Item(b"hvc1", b"a thumbnail"), Item(b"hvc1", SECRET), Item(b"hvc1", bytes(WINDOW_BYTES)), layout=layout
    )
    photo = photo.replace(full(b"pitm", 0, number(1, 2)), full(b"pitm", 0, number(3, 2)))
    assert cleaned(HeifFilter, photo) == photo


def test_a_jpeg_inside_is_rejected_unless_it_is_a_thumbnail() -> None:
    assert "a JPEG image" in rejection(HeifFilter, heif(PIXELS, Item(b"jpeg", SECRET)))
    layout = Layout(references=((b"thmb", 2, [1]),))
    assert SECRET not in cleaned(HeifFilter, heif(PIXELS, Item(b"jpeg", SECRET), layout=layout))


@pytest.mark.parametrize("wide", [False, True])
def test_properties_in_words_become_free_space_that_is_not_essential(*, wide: bool) -> None:
    told, freed = full(b"udes", 0, b"en\0", SECRET), box(b"free", bytes(7 + len(SECRET)))
    before = iprp([ispe(30, 20), told, full(b"crtt", 0, bytes(8))], [(1, [1, -2, -1, 3])], wide=wide)
    after = iprp([ispe(30, 20), freed, box(b"free", bytes(12))], [(1, [1, 2, -1, 3])], wide=wide)
    assert cleaned(HeifFilter, heif(PIXELS, layout=Layout(extra=before))) == heif(PIXELS, layout=Layout(extra=after))


@pytest.mark.parametrize(
    ("properties", "owned", "expected"),
    [
        ([ispe(30, 20)], [1], (30, 20)),
        ([ispe(30, 20), box(b"irot", b"\1")], [1, -2], (20, 30)),
        ([ispe(30, 20), box(b"irot", b"\3")], [-2, 1], (20, 30)),
        ([ispe(30, 20), box(b"irot", b"\2"), box(b"imir", b"\1")], [1, 2, 3], (30, 20)),
        ([ispe(30, 20), box(b"clap", number(9), number(2), number(8), number(1))], [1, 2], (4, 8)),
        (
            [ispe(30, 20), box(b"clap", *[number(9), number(1), number(8), number(1)]), box(b"irot", b"\1")],
            [1, 2, 3],
            (8, 9),
        ),
        ([ispe(30, 20), box(b"clap", bytes(16))], [1, 2], (30, 20)),
        ([ispe(1, 1), ispe(30, 20), box(b"irot", b"\1")], [2], (30, 20)),
        ([ispe(30, 20)], [2], None),
        ([ispe(30, 20)], [], None),
    ],
)
def test_its_dimensions_are_as_displayed(properties: list[bytes], owned: list[int], expected: object) -> None:
    extra = iprp([*properties, ispe(5, 5)], [(2, [len(properties) + 1]), (1, owned)])
    if owned == [2] and len(properties) == 1:
        extra = iprp(properties, [(1, [2])])
    photo = heif(PIXELS, PIXELS, layout=Layout(extra=extra))
    assert dimensions(HeifFilter, photo) == expected
    assert dimensions(HeifFilter, photo[: photo.index(b"mdat")]) == expected


def test_data_that_precedes_the_index_is_held_back() -> None:
    photo = heif(PIXELS, Item(b"hvc1", bytes(range(256)) * 4000), EXIF, XMP, layout=DATA_FIRST)
    expected = photo.replace(EXIF.data, EMPTY_EXIF.ljust(len(EXIF.data), b"\0"))
    assert cleaned(HeifFilter, photo) == expected.replace(XMP.data, EMPTY_XMP.ljust(len(XMP.data)))
    photo_filter = HeifFilter()
    passed = photo_filter.feed(memoryview(photo)[: photo.index(b"meta") - 4])
    assert sum(len(piece) for piece in passed) == photo.index(b"meta") - 4 - WINDOW_BYTES


def test_metadata_that_has_left_the_window_is_rejected() -> None:
    """The window ends where the index begins."""
    rest = WINDOW_BYTES - len(EXIF.data)
    fits, missed = (heif(PIXELS, EXIF, Item(b"hvc1", bytes(rest + more)), layout=DATA_FIRST) for more in (0, 1))
    assert EMPTY_EXIF in cleaned(HeifFilter, fits)
    for cuts in (range(0), range(0, len(missed), 1000)):
        assert "index comes more than" in rejection(HeifFilter, missed, cuts)
    unlinked = heif(PIXELS, Item(b"hvc1", bytes(rest)), layout=replace(DATA_FIRST, gap=EXIF.data))
    assert "index comes more than" in rejection(HeifFilter, unlinked)


def test_data_without_an_index_is_not_passed_on() -> None:
    photo = heif(PIXELS, layout=DATA_FIRST)
    before_index = photo[: photo.index(b"meta") - 4]
    assert cleaned(HeifFilter, before_index) == FTYP + before_index[24:32] + bytes(len(PIXELS.data))
    long = heif(Item(b"hvc1", bytes(WINDOW_BYTES + 1)), layout=DATA_FIRST)
    assert "index comes more than" in rejection(HeifFilter, long[: long.index(b"meta") - 4])


def test_a_sequence_is_awaited_if_the_brands_announce_it() -> None:
    ftyp = FTYP.replace(b"heic\0", b"msf1\0")
    photo = heif(PIXELS, EXIF, layout=Layout(ftyp=ftyp))
    assert cleaned(HeifFilter, photo) == photo.replace(EXIF.data, EMPTY_EXIF.ljust(len(EXIF.data), b"\0"))


@pytest.mark.parametrize("name", ["index first", "inside", "made.avif", "made.heic", "animation.avif"])
def test_a_photo_that_is_cut_off_passes_as_far_as_it_goes(name: str) -> None:
    photo = ALL[name]
    whole = cleaned(HeifFilter, photo)
    for end in range(0, len(photo), 1 if len(photo) < 2000 else 7):
        output = cleaned(HeifFilter, photo[:end])
        assert len(output) <= end
        assert whole.startswith(output)


def test_a_photo_whose_index_is_cut_off_has_no_metadata() -> None:
    photo = SYNTHETIC["data first"]
    for end in range(len(photo)):
        output = cleaned(HeifFilter, photo[:end])
        assert SECRET[:4] not in output


@pytest.mark.parametrize("name", ALL)
def test_chunks_make_no_difference_and_filtering_twice_changes_nothing(name: str) -> None:
    output = cleaned(HeifFilter, ALL[name])
    assert cleaned(HeifFilter, ALL[name], range(1, len(ALL[name]))) == output
    assert cleaned(HeifFilter, output) == output


@given(st.sampled_from(sorted(ALL)), st.lists(st.floats(0, 1), max_size=8))
def test_the_output_is_the_same_however_the_photo_is_cut(name: str, cuts: Iterable[float]) -> None:
    photo = ALL[name]
    assert cleaned(HeifFilter, photo, [int(cut * len(photo)) for cut in cuts]) == cleaned(HeifFilter, photo)


def _moved(item: int, place: int, *, size: int | None = None) -> bytes:
    """Return a photo in which the index gives another offset and size for the data of an item."""
    items = [PIXELS, EXIF]
    photo = heif(*items)
    start = photo.index(items[item].data)
    old = number(start) + number(len(items[item].data))
    return photo.replace(old, number(start + place) + number(len(items[item].data) if size is None else size))


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (_moved(1, -1), "overlaps"),
        (_moved(1, -200), "overlaps"),
        (_moved(0, 199), "overlaps"),
        (_moved(0, 100), "overlaps"),
        (_moved(1, 1), "outside"),
        (_moved(1, 0, size=2**32 - 1), "outside"),
        (_moved(1, 2**20), "outside"),
        (_moved(0, -8), "outside"),
        (_moved(0, -100), "outside"),
        (_moved(0, 0, size=0), "no data"),
        (heif(PIXELS, EXIF, layout=Layout(between=box(b"free", bytes(99)))).replace(b"mdat", b"free"), None),
        (heif(PIXELS, replace(PIXELS, method=1)).replace(b"idat", b"idaX"), "outside"),
        (heif(PIXELS, Item(b"hvc1", b"", method=1)), "no data"),
        (FTYP + meta([PIXELS], Layout(), 24) + box(b"mdat", bytes(1000)), "outside"),
        (heif(PIXELS).replace(b"pict", b"mdir"), "not images"),
        (FTYP + full(b"meta", 0), "not images"),
        (heif(PIXELS, layout=Layout(extra=full(b"pitm", 0, bytes(2)))), "twice"),
        (heif(PIXELS, layout=Layout(extra=full(b"iinf", 0, bytes(2)))), "twice"),
        (heif(PIXELS).replace(infe(1, b"hvc1"), infe(1, b"hvc1", protection=1)), "encrypted"),
        (heif(PIXELS).replace(infe(1, b"hvc1"), infe(1, b"hvc1").replace(b"infe\2", b"infe\1")), "no type"),
        (heif(PIXELS, PIXELS).replace(infe(2, b"hvc1"), infe(1, b"hvc1")), "same number"),
        (heif(PIXELS).replace(b"iloc\1", b"iloc\3"), "unknown format"),
        (heif(PIXELS).replace(b"iloc\1\0\0\0\x44", b"iloc\1\0\0\0\x34"), "unknown format"),
        (heif(replace(PIXELS, method=1)).replace(b"\0\1\0\1\0\0\0\1", b"\0\1\0\3\0\0\0\1"), "location of an item"),
        (heif(replace(PIXELS, method=1)).replace(b"\0\1\0\1\0\0\0\1", b"\0\1\0\1\0\1\0\1"), "location of an item"),
        (heif(PIXELS, layout=Layout(extra=iprp([ispe(1, 1)], []).replace(b"ipco", b"ipcX"))), "properties"),
        (heif(PIXELS, layout=Layout(extra=box(b"abcd", size=9))), "does not match its content"),
        (heif(PIXELS, layout=Layout(extra=box(b"abcd", size=7))), "does not match its content"),
        (heif(PIXELS, layout=Layout(extra=box(b"abcd", size=0))), "does not match its content"),
        (heif(PIXELS, layout=Layout(extra=b"\0\0\0\1abcd" + b"\xff" * 8)), "does not match its content"),
        (heif(PIXELS, layout=Layout(extra=b"\0\0\0\1abcd")), "does not match its content"),
        (heif(PIXELS, layout=Layout(extra=b"abc")), "does not match its content"),
        (heif(PIXELS, layout=Layout(extra=full(b"iref", 0, box(b"dimg", b"\0\1\xff\xff")))), "shorter than"),
        (heif(PIXELS, layout=Layout(between=meta([PIXELS], Layout(), 0))), "twice"),
        (heif(PIXELS, after=meta([PIXELS], Layout(), 0)), "twice"),
        (heif(PIXELS, after=box(b"moov")), "follows data that needs it"),
        (heif(PIXELS, layout=Layout(between=box(b"mini"))), "low-overhead"),
        (heif(PIXELS, after=box(b"moof")), "fragments"),
        (box(b"mdat", FTYP), "boxes"),
        (FTYP + FTYP + heif(PIXELS), "boxes"),
        (FTYP + b"\0\0\0\7free", "boxes"),
        (b"\0\0\0\0ftypheic" + bytes(8), "brands"),
        (FTYP + b"\0\0\0\0meta" + meta([PIXELS], Layout(), 0)[8:], "longer than"),
        (FTYP + b"\0\0\0\1meta" + b"\xff" * 8 + meta([PIXELS], Layout(), 0)[8:], "longer than"),
    ],
)  # fmt: skip
def test_an_invalid_structure_is_rejected(photo: bytes, reason: str | None) -> None:
    if reason is None:  # nothing of it is passed on
        assert PIXELS.data not in cleaned(HeifFilter, photo)
        return
    for cuts in (range(0), range(1, len(photo))):
        assert reason in rejection(HeifFilter, photo, cuts)


def _bounded(kind: str, count: int) -> bytes:
    free = box(b"free")
    match kind:
        case "boxes":
            return FTYP + free * (count - 1)
        case "brands":
            return heif(PIXELS, layout=Layout(ftyp=box(b"ftyp", b"heic", bytes(count - 4))))
        case "index":
            return FTYP + full(b"meta", 0, HANDLER, box(b"free", bytes(count - 4 - len(HANDLER) - 8)))
        case "items":
            entries = b"".join(infe(at, b"hvc1") for at in range(count))
            return FTYP + full(b"meta", 0, HANDLER, full(b"iinf", 0, bytes(2), entries))
        case "properties":
            return heif(PIXELS, layout=Layout(extra=iprp([free] * count, [])))
        case _:
            return heif(Item(b"hvc1", bytes(count), pieces=count), layout=Layout(gap=b"-", iloc_version=0))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("boxes", MAX_BOXES - 1),
        ("brands", 1024),
        ("index", MAX_INDEX_BYTES),
        ("items", MAX_ITEMS),
        ("properties", MAX_PROPERTIES),
        ("extents", MAX_EXTENTS),
    ],
)
def test_all_numbers_are_bounded(kind: str, limit: int) -> None:
    assert cleaned(HeifFilter, _bounded(kind, limit))
    assert kind[:5] in rejection(HeifFilter, _bounded(kind, limit + 1))


def test_extents_without_fields_are_rejected() -> None:
    """A few bytes would stand for 65,535 extents each, and a small index for hundreds of millions."""
    entry = number(1, 2) + number(1, 2) + bytes(2) + number(0xFFFF, 2)
    iloc = full(b"iloc", 1, bytes(2), number(10_000, 2), entry * 10_000)
    assert "unknown format" in rejection(HeifFilter, FTYP + full(b"meta", 0, HANDLER, iloc))


def test_extents_that_adjoin_are_one() -> None:
    photo = heif(Item(b"hvc1", bytes(5000), pieces=5000))
    assert cleaned(HeifFilter, photo) == photo


def test_deeply_nested_boxes_are_not_followed() -> None:
    nested = b""
    for _ in range(10_000):
        nested = box(b"abcd", nested)
    assert cleaned(HeifFilter, heif(PIXELS, after=nested)) == heif(PIXELS, after=box(b"free", bytes(len(nested) - 8)))


def test_its_memory_is_bounded() -> None:
    """An index of maximum size, with as many items as allowed and references, after more data than is held back."""
    items = [PIXELS, Item(b"hvc1", bytes(WINDOW_BYTES * 4)), *[Item(b"Exif", b"-" * 30)] * 1997]
    references = tuple((kind, at, [2]) for kind in (b"thmb", b"iloc") for at in range(3, 2000))
    photo = heif(*items, layout=Layout(is_data_first=True, references=references))
    assert MAX_INDEX_BYTES * 0.99 < len(photo[photo.index(b"meta") :]) < MAX_INDEX_BYTES
    chunks = [memoryview(photo)[at : at + 4096] for at in range(0, len(photo), 4096)]
    photo_filter = HeifFilter()
    tracemalloc.start()
    try:
        for chunk in chunks:
            photo_filter.feed(chunk)
        photo_filter.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert WINDOW_BYTES < peak < 1024 * 1024


def test_damaged_files_are_cleaned_or_rejected() -> None:
    passed, total = fuzz(HeifFilter, [photo for photo in ALL.values() if len(photo) < 5000], 3000)
    assert 0 < passed < total == 3000
