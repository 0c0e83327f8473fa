"""Cleans the items of a HEIF file: images and their metadata (ISO/IEC 14496-12 §8.11, ISO/IEC 23008-12).

A `meta` box lists the items and their types (`iinf`), where their data is (`iloc`), what they refer to (`iref`), and
their properties (`iprp`). Nothing is moved, and nothing changes its length. Items that are not images stay in the list
but become empty documents. Properties that do not affect how an image is displayed become free space.

Thumbnails count as metadata, because a thumbnail may show what was cropped from the photo. If nothing else depends on a
thumbnail, its type becomes one that readers ignore.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from recipe_api.photos.extents import EXIF, NOTHING, XMP, Extents, Fill
from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.isobmff import (
    Box,
    Fields,
    blank,
    blank_data_references,
    blank_handler_name,
    boxes,
    child,
    free,
    malformed,
)

MAX_ITEMS = 2048
MAX_PROPERTIES = 2048

_PARTS = frozenset({b"hdlr", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"idat", b"grpl", b"dinf"})
_IMAGES = frozenset(
    {b"av01", b"avc1", b"evc1", b"hvc1", b"hvt1", b"j2k1", b"jpeg", b"lhv1", b"mski", b"unci", b"vvc1"}  # coded
    | {b"grid", b"iovl", b"sato", b"tili", b"tmap"}  # derived from other images; so is `iden`, but it has no data
)
PROPERTIES = frozenset(
    {b"av1C", b"avcC", b"cmpC", b"cmpd", b"cpat", b"evcC", b"hvcC", b"icef", b"j2kH"}  # of the codec
    | {b"lhvC", b"mskC", b"oinf", b"splz", b"tilC", b"tols", b"uncC", b"vvcC"}
    | {b"a1lx", b"a1op", b"lsel", b"rref", b"iscl", b"rloc", b"ispe", b"pixi", b"pasp"}  # of layers and size
    | {b"amve", b"cclv", b"clli", b"colr", b"mdcv", b"ndwt", b"reve"}  # of colour
    | {b"auxC", b"clap", b"cmex", b"cmin", b"imir", b"irot"}  # of display; cm..: the camera of a spatial photo
)
"""Properties of images to keep. Others contain, for example, a description or the time when the photo was taken."""
_IGNORED, _HIDDEN = b"free", 1
"""A type of item that readers ignore, and the flag of items that must not be displayed."""
_FILLS = (None, NOTHING, EXIF, XMP)
_FILL = 3
_JPEG, _THUMBNAIL, _NEEDED, _IN_IMAGE, _IN_METADATA, _LOCATED = (1 << bit for bit in range(2, 8))
"""Flags for what is known about an item. Sets of items would take too much memory."""
_IN_FILE, _IN_BOX, _IN_ITEM = range(3)
"""Where the data of an item is (`construction_method`)."""


def clean_items(
    data: bytearray, box: Box, extents: Extents, *, is_changeable: Callable[[int], bool] = lambda _: True
) -> Dimensions | None:
    """Remove the metadata from a `meta` box, add the extents of its items to `extents`, and return the dimensions.

    Args:
        data: The bytes that contain the box.
        box: The `meta` box.
        extents: The extents of the file.
        is_changeable: Returns whether the byte at a position in the file can still be changed.

    Raises:
        PhotoMalformed: The structure is invalid or unsupported.
    """
    fields = Fields(data, box)
    fields.number(4)  # version and flags
    parts = _parts(data, fields.at, box.end)
    if b"hdlr" not in parts or blank_handler_name(data, parts[b"hdlr"]) != b"pict":
        raise malformed("its items are not images")
    if b"dinf" in parts and (references := child(data, parts[b"dinf"], b"dref")):
        blank_data_references(data, references)
    items = _Items(data, parts)
    items.locate(extents, is_changeable)
    return _clean_properties(data, parts[b"iprp"], items.primary) if b"iprp" in parts else None


def _parts(data: bytearray, start: int, end: int) -> dict[bytes, Box]:
    """Return the boxes in a `meta` box by their types, and turn those that are not needed into free space."""
    parts: dict[bytes, Box] = {}
    for box in boxes(data, start, end):
        if box.kind not in _PARTS:
            free(data, box)
        elif box.kind in parts:
            raise malformed("a box that may occur only once occurs twice")
        else:
            parts[box.kind] = box
    return parts


class _Location(NamedTuple):
    item: int
    method: int
    base: int
    extents: Box
    """The part of `iloc` that lists the extents."""
    extent_count: int


class _Locations:
    """The entries of an `iloc` box: where the data of each item is."""

    def __init__(self, data: bytearray, box: Box) -> None:
        self._data, self._box = data, box
        fields = Fields(data, box)
        self._version = fields.number(4) >> 24
        sizes = fields.number(2)
        self._offset_bytes, self._length_bytes = sizes >> 12, sizes >> 8 & 15
        self._base_bytes, self._index_bytes = sizes >> 4 & 15, sizes & 15 if self._version else 0
        used = {self._offset_bytes, self._length_bytes, self._base_bytes, self._index_bytes}
        if self._version > 2 or not used <= {0, 4, 8}:
            raise malformed("the locations of its items have an unknown format")
        self._entries = fields

    def __iter__(self) -> Iterator[_Location]:
        fields, number_bytes = self._entries, 4 if self._version == 2 else 2
        extent_bytes = self._index_bytes + self._offset_bytes + self._length_bytes
        for _ in range(fields.number(number_bytes)):
            item = fields.number(number_bytes)
            method = fields.number(2) & 15 if self._version else _IN_FILE
            if method > _IN_ITEM or fields.number(2):
                raise malformed("the location of an item is unsupported")
            base, count = fields.number(self._base_bytes), fields.number(2)
            if count > 1 and not extent_bytes:  # a few bytes would take as long as thousands
                raise malformed("the locations of its items have an unknown format")
            start = fields.at
            fields.number(count * extent_bytes)
            yield _Location(item, method, base, Box(b"", start, start, fields.at), count)

    def extents(self, location: _Location) -> Iterator[tuple[int, int]]:
        """Yield the start and the size of each extent of an item."""
        fields = Fields(self._data, location.extents)
        for _ in range(location.extent_count):
            fields.number(self._index_bytes)
            yield location.base + fields.number(self._offset_bytes), fields.number(self._length_bytes)


class _Items:
    """The items of one `meta` box."""

    def __init__(self, data: bytearray, parts: dict[bytes, Box]) -> None:
        self._data, self._parts = data, parts
        self._items: dict[int, int] = {}
        """By item number: the index of the replacement in `_FILLS`, combined with flags."""
        self.primary = self._primary()
        self._read_entries()
        self._read_references()

    def locate(self, extents: Extents, is_changeable: Callable[[int], bool]) -> None:
        """Add the extents of the items to `extents`, and replace metadata that is in the box itself."""
        inside = Extents()
        if box := self._parts.get(b"iloc"):
            locations = _Locations(self._data, box)
            for location in locations:
                fill = self._fill(location, locations, is_changeable)
                if location.method == _IN_ITEM:
                    continue
                for start, size in locations.extents(location):
                    if fill is None and not size:
                        raise malformed("an image has no data")
                    (extents if location.method == _IN_FILE else inside).add(start, size, fill)
                    fill = fill and fill.continued
        self._blank_inside(inside)
        self._hide_thumbnails()

    def _fill(self, location: _Location, locations: _Locations, is_changeable: Callable[[int], bool]) -> Fill | None:
        """Return the replacement for an item; None if the item is kept."""
        item = self._items.get(location.item, _LOCATED)
        if item & _LOCATED:
            return NOTHING
        self._items[location.item] |= _LOCATED
        if _is_thumbnail(item):
            if location.method != _IN_FILE or all(is_changeable(start) for start, _ in locations.extents(location)):
                return NOTHING
            self._items[location.item] |= _NEEDED
        fill = _FILLS[item & _FILL]
        if fill is None and item & _JPEG:
            raise malformed("it contains a JPEG image, which may have its own metadata")
        if fill is None and location.method == _IN_ITEM and item & (_IN_IMAGE | _IN_METADATA) != _IN_IMAGE:
            raise malformed("the data of an image is in an item that is not an image")
        if fill and location.method == _IN_ITEM and item & _IN_IMAGE:
            raise malformed("the data of a metadata item is in an image")
        return fill

    def _blank_inside(self, inside: Extents) -> None:
        inside.arrange()
        if box := self._parts.get(b"idat"):
            for extent in inside.through(0, box.end - box.content):
                if extent.fill:
                    start, end = box.content + extent.start, box.content + extent.end
                    self._data[start:end] = extent.fill.over(end - start)
        if not inside.is_passed:
            raise malformed("an item is outside of the data")

    def _hide_thumbnails(self) -> None:
        for entry, fields, number, _ in self._entries():
            if _is_thumbnail(self._items[number]):
                self._data[fields.at - 4 : fields.at] = _IGNORED
                self._data[entry.content + 3] |= _HIDDEN

    def _primary(self) -> int | None:
        if not (box := self._parts.get(b"pitm")):
            return None
        fields = Fields(self._data, box)
        return fields.number(4 if fields.number(4) >> 24 else 2)

    def _entries(self) -> Iterator[tuple[Box, Fields, int, bytes]]:
        """Yield each entry of `iinf`, its remaining fields, and the number and the type of its item."""
        if not (box := self._parts.get(b"iinf")):
            return
        fields = Fields(self._data, box)
        fields.number(4 if fields.number(4) >> 24 else 2)  # the number of entries
        for entry in boxes(self._data, fields.at, box.end):
            if entry.kind != b"infe":
                free(self._data, entry)
                continue
            entry_fields = Fields(self._data, entry)
            version = entry_fields.number(4) >> 24
            if version not in {2, 3}:
                raise malformed("an item has no type")
            number = entry_fields.number(2 if version == 2 else 4)
            if entry_fields.number(2):
                raise malformed("an item is encrypted")
            yield entry, entry_fields, number, entry_fields.number(4).to_bytes(4, "big")

    def _read_entries(self) -> None:
        for entry, fields, number, kind in self._entries():
            if number in self._items:
                raise malformed("two items have the same number")
            if len(self._items) == MAX_ITEMS:
                raise malformed(f"it has more than {MAX_ITEMS} items")
            name = fields.at
            blank(self._data, name, name + len(fields.string()), b" ")
            fill = None if kind in _IMAGES else EXIF if kind == b"Exif" else NOTHING
            if kind == b"mime":
                is_xmp, encoding = fields.string() == b"application/rdf+xml", fields.string()
                fill = XMP if is_xmp and not encoding else NOTHING
            elif kind == b"uri ":
                fields.string()
            self._items[number] = _FILLS.index(fill) | (_JPEG if kind == b"jpeg" else 0)
            blank(self._data, fields.at, entry.end)

    def _read_references(self) -> None:
        if self.primary in self._items:
            self._items[self.primary] |= _NEEDED
        for group in self._children(b"grpl"):
            fields = Fields(self._data, group)
            fields.number(8)  # version, flags, group number
            self._mark_needed(fields, fields.number(4), 4)
        size = 4 if self._version(b"iref") else 2
        for reference in self._children(b"iref", fields_bytes=4):
            fields = Fields(self._data, reference)
            source = fields.number(size)
            if source not in self._items or reference.kind == b"cdsc":  # refers from metadata to what it describes
                continue
            kinds = self._mark_needed(fields, fields.number(2), size)
            if reference.kind == b"thmb":
                self._items[source] |= _THUMBNAIL
            elif reference.kind == b"iloc":
                self._items[source] |= kinds
            else:
                self._items[source] |= _NEEDED

    def _mark_needed(self, fields: Fields, count: int, size: int) -> int:
        """Mark the items with the next `count` numbers as needed.

        Return the flags `_IN_IMAGE` and `_IN_METADATA`: whether images and metadata are among these items.
        """
        kinds = 0
        for _ in range(count):
            if (number := fields.number(size)) in self._items:
                self._items[number] |= _NEEDED
                kinds |= _IN_METADATA if self._items[number] & _FILL else _IN_IMAGE
        return kinds

    def _version(self, part: bytes) -> int:
        box = self._parts.get(part)
        return Fields(self._data, box).number(4) >> 24 if box else 0

    def _children(self, part: bytes, *, fields_bytes: int = 0) -> Iterator[Box]:
        if box := self._parts.get(part):
            yield from boxes(self._data, box.content + fields_bytes, box.end)


def _clean_properties(data: bytearray, box: Box, primary: int | None) -> Dimensions | None:
    """Turn properties other than `PROPERTIES` into free space, and return the dimensions of the primary item."""
    containers = [part for part in boxes(data, box.content, box.end) if part.kind == b"ipco"][:2]
    if len(containers) != 1:
        raise malformed("the properties of its items are missing")
    is_freed = bytearray()
    for number, part in enumerate(boxes(data, containers[0].content, containers[0].end)):
        if number == MAX_PROPERTIES:
            raise malformed(f"it has more than {MAX_PROPERTIES} properties")
        is_freed.append(part.kind not in PROPERTIES)
        if is_freed[-1]:
            free(data, part)
    wanted: list[int] = []
    for part in boxes(data, box.content, box.end):
        if part.kind == b"ipma":
            wanted += _associations(data, part, is_freed, primary)
        elif part.kind != b"ipco":
            free(data, part)
    return _dimensions(data, containers[0], wanted)


def _associations(data: bytearray, box: Box, is_freed: bytearray, primary: int | None) -> list[int]:
    """Mark freed properties as not essential, and return the numbers of the primary item's properties."""
    fields, wanted = Fields(data, box), list[int]()
    version_and_flags = fields.number(4)
    number_bytes, size = 4 if version_and_flags >> 24 else 2, 2 if version_and_flags & 1 else 1
    essential = 0x80 << 8 * (size - 1)
    for _ in range(fields.number(4)):
        item = fields.number(number_bytes)
        for _ in range(fields.number(1)):
            at = fields.at
            index = fields.number(size) & ~essential
            if 0 < index <= len(is_freed) and is_freed[index - 1]:
                data[at] &= 0x7F
            if item == primary and len(wanted) < 256:
                wanted.append(index)
    return wanted


def _dimensions(data: bytearray, container: Box, wanted: list[int]) -> Dimensions | None:
    """Return the dimensions after the transformations, which apply in the order of `wanted`."""
    numbered = enumerate(boxes(data, container.content, container.end), start=1)
    properties = {number: part for number, part in numbered if number in wanted}
    chosen = [(properties[number].kind, Fields(data, properties[number])) for number in wanted if number in properties]
    size = next((fields for kind, fields in chosen if kind == b"ispe"), None)
    if not size:
        return None
    size.number(4)  # version and flags
    width, height = size.number(4), size.number(4)
    for kind, fields in chosen:
        if kind == b"irot" and fields.number(1) & 1:
            width, height = height, width
        elif kind == b"clap":
            clap_width, width_divisor, clap_height, height_divisor = (fields.number(4) for _ in range(4))
            if width_divisor and height_divisor:
                width, height = round(clap_width / width_divisor), round(clap_height / height_divisor)
    return Dimensions(width, height)


def _is_thumbnail(item: int) -> bool:
    """Return whether an item is only a thumbnail."""
    return item & (_THUMBNAIL | _NEEDED) == _THUMBNAIL
