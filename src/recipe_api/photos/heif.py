"""Removes the metadata of HEIC, HEIF and AVIF photos, without moving anything.

A HEIF file is a sequence of boxes: `ftyp` names its brands, `meta` and `moov` are an index of its images and sequences,
`mdat` has the data. Bytes are found by their place in the file, so the output has the length of the input: boxes that
are not needed become free space, and of the data, only what the index gives to an image stays. `heif_items` and
`heif_tracks` clean the index.

Most files begin with the index, and their data is cleaned as it streams. Where the index follows the data, as in photos
of some Samsung phones, the last `WINDOW_BYTES` of data are held back, and cleaned when the index arrives. Metadata that
has left the window by then has been passed on; such a photo is rejected.

Considerations: metadata inside an image's own coding, such as the name of an encoder, stays. So do depth maps, gain
maps, and thumbnails of sequences, which are images. Orientation is a property of the image, so nothing is lost with
the Exif metadata.
"""

from recipe_api.photos.extents import NOTHING, Extent, Extents, Fill
from recipe_api.photos.filtering import PhotoFilter, Steps
from recipe_api.photos.heif_items import clean_items
from recipe_api.photos.heif_tracks import clean_tracks
from recipe_api.photos.isobmff import Box, malformed

WINDOW_BYTES = 256 * 1024
"""How much data is held back if the index follows it. Samsung writes the metadata last, in a few kilobytes."""
MAX_INDEX_BYTES = 128 * 1024
"""The length of `meta` and `moov`. A photo of 200 megapixels has 39 kB; a sequence has about 12 bytes per image."""
MAX_BOXES = 1024
_MAX_BRANDS_BYTES = 1024
_END = 2**65
"""Beyond the end of any file."""

_SEQUENCES = frozenset({b"msf1", b"avis", b"hevc", b"hevx", b"hevm", b"hevs"})
_UNSUPPORTED = {b"mini": "it is of the low-overhead kind", b"moof": "it has fragments"}


class _Window:
    """The last data, which may still be changed."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.held = bytearray()

    def push(self, data: bytes | bytearray | memoryview) -> list[bytes | memoryview]:
        """Hold more, and return what leaves."""
        leaving = list[bytes | memoryview]()
        if (excess := len(self.held) + len(data) - WINDOW_BYTES) > 0:
            self.start += excess
            held = bytes(self.held[:excess])
            del self.held[:excess]
            data = memoryview(data)
            leaving = [held, data[: excess - len(held)]]
            data = data[excess - len(held) :]
        self.held += data
        return leaving

    def replace(self, extent: Extent, fill: Fill) -> None:
        """Replace what is held of an extent.

        Raises:
            PhotoMalformed: It begins before the window.
        """
        start, end = extent.start - self.start, min(extent.end - self.start, len(self.held))
        if start < 0:
            raise malformed(f"its index follows more than {WINDOW_BYTES} bytes after metadata")
        if start < end:
            self.held[start:end] = fill.over(end - start)


class HeifFilter(PhotoFilter):
    """Removes the metadata of a HEIC, HEIF or AVIF photo."""

    def __init__(self) -> None:
        self._extents = Extents()
        self._awaits_tracks = False
        """Whether the brands announce a sequence."""
        self._indexes: set[bytes] = set()
        """Which of `meta` and `moov` have been read."""
        self._data_boxes: list[Box] = []
        """Those that began before the index was complete."""
        self._window: _Window | None = None
        self._is_cleaning = False
        """Whether the index is complete and data may follow."""
        self._is_between_boxes = True
        super().__init__()

    def end(self) -> None:
        if self._window:
            self._release(self._window)
        if self._is_between_boxes and self._is_cleaning and not self._extents.is_passed:
            raise malformed("an item lies outside of the data")

    def program(self) -> Steps:
        start = 0
        for number in range(MAX_BOXES):
            self._is_between_boxes = True
            header = yield from self.read(8)
            if header[:4] == b"\0\0\0\1":
                header += yield from self.read(8)
            size, kind = int.from_bytes(header[8:] or header[:4], "big"), header[4:8]
            if header[:4] == b"\0\0\0\0":
                size = _END - start
            is_box = size >= len(header) and (kind == b"ftyp") == (number == 0)
            if not is_box and self._indexes:  # another file follows, such as the video of a motion photo, or junk
                return
            if not is_box:
                raise malformed("it does not consist of boxes")
            self._is_between_boxes = False
            yield from self._box(Box(kind, start, start + len(header), start + size), header)
            start += size
        raise malformed(f"it has more than {MAX_BOXES} boxes")

    def _box(self, box: Box, header: bytes) -> Steps:
        if box.kind == b"ftyp":
            self._put(header)
            yield from self._brands(box.end - box.content)
        elif box.kind == b"mdat":
            self._put(header)
            yield from self._data(box)
        elif box.kind in {b"meta", b"moov"}:
            yield from self._index(box, header)
        elif box.kind in _UNSUPPORTED:
            raise malformed(_UNSUPPORTED[box.kind])
        else:
            self._put(header[:4] + b"free" + header[8:])
            yield from self._replace(Extent(box.content, box.end, NOTHING))

    def _brands(self, size: int) -> Steps:
        if size > _MAX_BRANDS_BYTES:
            raise malformed("it has too many brands")
        content = yield from self.read(size)
        brands = {content[at : at + 4] for at in range(0, size, 4) if at != 4}  # at 4, there is the minor version
        self._awaits_tracks = not brands.isdisjoint(_SEQUENCES)
        self._put(content)

    def _index(self, box: Box, header: bytes) -> Steps:
        if self._is_cleaning or box.kind in self._indexes:
            raise malformed("an index follows its data, or appears twice")
        if box.end - box.content > MAX_INDEX_BYTES:
            raise malformed(f"an index is longer than {MAX_INDEX_BYTES} bytes")
        data = bytearray((yield from self.read(box.end - box.content)))
        content = Box(box.kind, 0, 0, len(data))
        if box.kind == b"meta":
            held_from = self._window.start if self._window else 0
            found = clean_items(data, content, self._extents, is_changeable=lambda place: place >= held_from)
            self.dimensions = found or self.dimensions
        else:
            found = clean_tracks(data, content, self._extents)
            self.dimensions = self.dimensions or found
        self._indexes.add(box.kind)
        self.is_measured = self._is_complete
        if self._window and self._is_complete:
            self._release(self._window)
        self._put(header)
        self._put(data)

    @property
    def _is_complete(self) -> bool:
        return bool(self._indexes) and (b"moov" in self._indexes or not self._awaits_tracks)

    def _data(self, box: Box) -> Steps:
        if not self._is_cleaning and self._is_complete:
            self._extents.arrange()
            self._is_cleaning = True
        if self._is_cleaning:
            for extent in self._extents.through(box.content, box.end):
                yield from self._replace(extent)
        else:
            self._window = self._window or _Window(box.content)
            self._data_boxes.append(box)
            yield from self._replace(Extent(box.content, box.end, None))

    def _replace(self, extent: Extent) -> Steps:
        """Pass on an extent, or what takes its place."""
        size, fill = extent.end - extent.start, extent.fill
        if not self._window:
            yield from self.copy(size) if fill is None else self.overwrite(size, fill.beginning(size), fill.padding)
            return
        while size:
            view = yield from self.arrived()
            taken = view[:size]
            size -= len(taken)
            self._put(taken if fill is None else bytes(len(taken)))
            yield from self.skip(len(taken))

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        for piece in self._window.push(data) if self._window else (data,):
            self.emit(memoryview(piece))

    def _release(self, window: _Window) -> None:
        """Clean the data that is held back, and continue without holding back any."""
        self._extents.arrange()
        for box in self._data_boxes:
            for extent in self._extents.through(box.content, box.end):
                if extent.fill:
                    window.replace(extent, extent.fill)
        self.emit(memoryview(window.held))
        self._window, self._is_cleaning = None, True
