"""Builds HEIF files box by box, including those that no encoder writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

Reference = tuple[bytes, int, Sequence[int]]


@dataclass(frozen=True)
class Item:
    kind: bytes
    data: bytes
    texts: tuple[bytes, ...] = ()
    """The strings after its type: name, content type, content encoding."""
    method: int = 0
    pieces: int = 1
    """The number of extents that it is divided into."""
    base: int = 0
    """The item that contains it, if `method` is 2."""
    flags: int = 0


PIXELS = Item(b"hvc1", bytes(range(1, 201)))
FTYP = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
HANDLER = b"\0\0\0\x21hdlr\0\0\0\0\0\0\0\0pict" + bytes(13)


def box(kind: bytes, *content: bytes, size: int | None = None) -> bytes:
    """Return a box, which declares `size` if given: 0 means "to the end of the file", 1 "a 64-bit size follows"."""
    joined = b"".join(content)
    if size == 1:
        return b"\0\0\0\1" + kind + (16 + len(joined)).to_bytes(8, "big") + joined
    return (8 + len(joined) if size is None else size).to_bytes(4, "big") + kind + joined


def full(kind: bytes, version: int, *content: bytes, flags: int = 0) -> bytes:
    return box(kind, bytes([version]), flags.to_bytes(3, "big"), *content)


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def infe(item: int, kind: bytes, *texts: bytes, version: int = 2, protection: int = 0, flags: int = 0) -> bytes:
    strings = b"".join(text + b"\0" for text in texts or (b"",))
    return full(b"infe", version, number(item, 2 * (version - 1)), number(protection, 2), kind, strings, flags=flags)


def iref(references: Iterable[Reference], version: int = 0) -> bytes:
    size = 4 if version else 2
    entries = (
        box(kind, number(source, size), number(len(targets), 2), *(number(target, size) for target in targets))
        for kind, source, targets in references
    )
    return full(b"iref", version, *entries)


def iprp(
    properties: Sequence[bytes], associations: Iterable[tuple[int, Sequence[int]]], *, wide: bool = False
) -> bytes:
    """Return properties and their associations with items, as numbers from 1, which are negative if essential."""
    size, essential = (2, 0x8000) if wide else (1, 0x80)
    entries = [
        number(item, 2)
        + number(len(owned), 1)
        + b"".join(number(abs(one) | essential * (one < 0), size) for one in owned)
        for item, owned in associations
    ]
    ipma = full(b"ipma", 0, number(len(entries)), *entries, flags=int(wide))
    return box(b"iprp", box(b"ipco", *properties), ipma)


def ispe(width: int, height: int) -> bytes:
    return full(b"ispe", 0, number(width), number(height))


@dataclass(frozen=True)
class Layout:
    """How a file is written."""

    iloc_version: int = 1
    sizes: tuple[int, int, int, int] = (4, 4, 0, 0)
    """The sizes of offsets, lengths, base offsets and indexes in bytes."""
    is_data_first: bool = False
    gap: bytes = b""
    """The bytes between the extents."""
    references: tuple[Reference, ...] = ()
    extra: bytes = b""
    """Other boxes in `meta`."""
    between: bytes = b""
    """The bytes between `meta` and `mdat`."""
    data_size: int | None = None
    """The size that the header of `mdat` declares, if it is not the real one."""
    ftyp: bytes = FTYP


def heif(*items: Item, layout: Layout | None = None, after: bytes = b"") -> bytes:
    """Return a file with these items, which are numbered from 1. The first is the primary item."""
    used = layout or Layout()
    data = used.gap + b"".join(piece + used.gap for item in items if item.method == 0 for piece in _pieces(item))
    mdat = box(b"mdat", data, size=used.data_size)
    header = len(mdat) - len(data)
    if used.is_data_first:
        start = len(used.ftyp) + header
        return used.ftyp + mdat + used.between + meta(items, used, start) + after
    start = len(used.ftyp) + len(meta(items, used, 0)) + len(used.between) + header
    return used.ftyp + meta(items, used, start) + used.between + mdat + after


def meta(items: Sequence[Item], layout: Layout, start: int) -> bytes:
    idat = b"".join(layout.gap + item.data for item in items if item.method == 1)
    references = [
        *layout.references,
        *((b"iloc", at, [item.base]) for at, item in enumerate(items, 1) if item.method == 2),
    ]
    entries = (infe(at, item.kind, *item.texts, flags=item.flags) for at, item in enumerate(items, 1))
    return full(
        b"meta",
        0,
        HANDLER,
        full(b"pitm", 0, number(1, 2)),
        full(b"iinf", 0, number(len(items), 2), *entries),
        _iloc(items, layout, start),
        iref(references) if references else b"",
        box(b"idat", idat) if idat else b"",
        layout.extra,
    )


def _pieces(item: Item) -> list[bytes]:
    step = -(-len(item.data) // item.pieces) or 1
    return [item.data[at : at + step] for at in range(0, len(item.data), step)]


def _iloc(items: Sequence[Item], layout: Layout, start: int) -> bytes:
    offset_bytes, length_bytes, base_bytes, index_bytes = layout.sizes
    number_bytes = 4 if layout.iloc_version == 2 else 2
    places, inside = start + len(layout.gap), len(layout.gap)
    entries = []
    for at, item in enumerate(items, 1):
        base = 0
        if item.method == 0:
            base, extents = (places, []) if base_bytes else (0, [])
            for piece in _pieces(item):
                extents.append((places - base, len(piece)))
                places += len(piece) + len(layout.gap)
        elif item.method == 1:
            extents = [(inside, len(item.data))]
            inside += len(item.data) + len(layout.gap)
        else:
            extents = [(0, 0)]
        method = number(item.method, 2) if layout.iloc_version else b""
        index = number(1, index_bytes) if index_bytes and layout.iloc_version else b""
        listed = chain.from_iterable(
            (index, number(offset, offset_bytes), number(length, length_bytes)) for offset, length in extents
        )
        entries.append(
            number(at, number_bytes)
            + method
            + bytes(2)
            + number(base, base_bytes)
            + number(len(extents), 2)
            + b"".join(listed)
        )
    sizes = bytes([offset_bytes << 4 | length_bytes, base_bytes << 4 | index_bytes])
    return full(b"iloc", layout.iloc_version, sizes, number(len(items), number_bytes), *entries)
