"""Removes the metadata of HEIC, HEIF and AVIF photos, without moving anything.

A HEIF file is a sequence of boxes: `ftyp` lists its brands, `meta` and `moov` are indexes of its images and sequences,
and `mdat` contains the data. The indexes refer to data by its position in the file, so the output has the same length
as the input: boxes that are not needed become free space, and data is overwritten unless an index assigns it to an
image. `heif_items` and `heif_tracks` clean the indexes.

Most files begin with the index, and their data is cleaned as it streams. If the index follows the data, as in photos of
some Samsung phones, the filter holds back the last `WINDOW_BYTES` of data and cleans them when the index arrives. If
metadata has left this window by then, it has been passed on already, and the photo is rejected.

Considerations: metadata inside an image's bit stream, such as the name of the encoder, is kept. So are depth maps, gain
maps, and thumbnails of sequences, because they are images. HEIF stores the orientation as a property of the image, so
it does not depend on the Exif metadata.
"""

from recipe_api.photos.extents import NOTHING, Extent, Extents, Fill
from recipe_api.photos.filtering import PhotoFilter, Steps
from recipe_api.photos.heif_items import clean_items
from recipe_api.photos.heif_tracks import clean_tracks
from recipe_api.photos.isobmff import Box, malformed

WINDOW_BYTES = 256 * 1024
"""How much data is held back if the index follows it. Samsung phones write a few kilobytes of metadata at the end."""
MAX_INDEX_BYTES = 128 * 1024
"""Maximum length of `meta` and of `moov`: 39 kB for a photo of 200 megapixels; for sequences, 12 bytes per image."""
MAX_BOXES = 1024
_MAX_BRANDS_BYTES = 1024
_END = 2**65
"""A position beyond the end of any file."""

_SEQUENCES = frozenset({b"msf1", b"avis", b"hevc", b"hevx", b"hevm", b"hevs"})
_UNSUPPORTED = {b"mini": "it has the low-overhead format", b"moof": "it has fragments"}


class _Window:
    """The last bytes of the output, which can still be changed."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.held = bytearray()

    def push(self, data: bytes | bytearray | memoryview) -> list[bytes | memoryview]:
        """Add bytes, and return those that leave the window."""
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
        """Replace the part of an extent that is in the window.

        Raises:
            PhotoMalformed: The extent begins before the window.
        """
        start, end = extent.start - self.start, min(extent.end - self.start, len(self.held))
        if start < 0:
            raise malformed(f"its index comes more than {WINDOW_BYTES} bytes after metadata")
        if start < end:
            self.held[start:end] = fill.over(end - start)


class HeifFilter(PhotoFilter):
    """Removes the metadata of a HEIC, HEIF or AVIF photo."""

    def __init__(self) -> None:
        self._extents = Extents()
        self._awaits_tracks = False
        """Whether the brands announce a sequence, and thus a `moov` box."""
        self._indexes: set[bytes] = set()
        """The types of the indexes that have been read: `meta` and `moov`."""
        self._data_boxes: list[Box] = []
        """The data boxes that began before the index was complete."""
        self._window: _Window | None = None
        self._is_cleaning = False
        """Whether the index is complete, so that data is cleaned as it streams."""
        self._is_between_boxes = True
        super().__init__()

    def end(self) -> None:
        if self._window:
            self._release(self._window)
        if self._is_between_boxes and self._is_cleaning and not self._extents.is_passed:
            raise malformed("an item is outside of the data")

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
            if not is_box and self._indexes:  # something else follows, such as the video of a motion photo, or junk
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
        brands = {content[at : at + 4] for at in range(0, size, 4) if at != 4}  # the minor version is at 4
        self._awaits_tracks = not brands.isdisjoint(_SEQUENCES)
        self._put(content)

    def _index(self, box: Box, header: bytes) -> Steps:
        if self._is_cleaning or box.kind in self._indexes:
            raise malformed("an index follows data that needs it, or occurs twice")
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
        """Pass on an extent, or its replacement."""
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
        """Clean and pass on the data that is held back, and hold back no more."""
        self._extents.arrange()
        for box in self._data_boxes:
            for extent in self._extents.through(box.content, box.end):
                if extent.fill:
                    window.replace(extent, extent.fill)
        self.emit(memoryview(window.held))
        self._window, self._is_cleaning = None, True
