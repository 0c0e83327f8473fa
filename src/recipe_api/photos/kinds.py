"""File types of photos, recognized by their first bytes instead of by what the client declares.

The signatures are those of the WHATWG MIME Sniffing standard and, for the HEIF family, the `ftyp` box of
ISO/IEC 14496-12 with the brands of ISO/IEC 23008-12 (HEIF), ISO/IEC 23000-22 (MIAF) and the AV1 Image File Format.

Browsers may display only raster images from the bucket. Any other file that the settings accept is served as an
attachment of type `application/octet-stream`, so that HTML and SVG cannot run scripts there.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

HEAD_BYTES = 256
"""How much of a file decides its type: room for a `ftyp` box with 60 compatible brands. Chromium reads 32 of them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A file type, and how files of this type are stored and served."""

    content_type: str
    extension: str
    inline: bool = True
    """Whether browsers may display the file; otherwise they download it."""
    other_extensions: tuple[str, ...] = ()
    """Other valid extensions, in lower case."""


_CAMERA_RAW = ("3fr", "arw", "cr2", "cr3", "dcr", "dng", "erf", "iiq", "kdc", "mrw", "nef", "nrw", "orf", "pef", "raf")
ANYTHING = Kind(
    "application/octet-stream",
    "bin",
    inline=False,
    other_extensions=(*_CAMERA_RAW, "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
)
"""The type of a file that matches no signature; accepted only if PHOTO_TYPES contains it."""

_AVIF = Kind("image/avif", "avif", other_extensions=("avifs",))
_HEIC = Kind("image/heic", "heic", other_extensions=("heics", "heif", "hif"))
_HEIF = Kind("image/heif", "heif", other_extensions=("heic", "heifs", "hif"))
_BRANDS = (
    (_AVIF, frozenset({b"avif", b"avis", b"avio"})),
    (_HEIC, frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})),
    (_HEIF, frozenset({b"mif1", b"msf1", b"mif2", b"mif3", b"miaf"})),
)
"""Brands that name a codec come first; those of HEIF and MIAF describe only the structure of the file."""


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


_SIGNATURES: tuple[tuple[Kind, Callable[[bytes], bool]], ...] = (
    (Kind("image/jpeg", "jpg", other_extensions=("jpeg", "jpe", "jfif")), _starts(b"\xff\xd8\xff")),
    (Kind("image/png", "png", other_extensions=("apng",)), _starts(b"\x89PNG\r\n\x1a\n")),
    (Kind("image/gif", "gif"), _starts(b"GIF87a", b"GIF89a")),
    (Kind("image/webp", "webp"), lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    *((kind, lambda head, kind=kind: _image_of_brands(head) is kind) for kind, _ in _BRANDS),
    (Kind("image/tiff", "tif", other_extensions=("tiff",)), _starts(b"II*\0", b"MM\0*")),
    (Kind("image/bmp", "bmp", other_extensions=("dib",)), _starts(b"BM")),
    (Kind("image/jxl", "jxl"), _starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
)

SHOWN_BY_BROWSERS = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp"})
"""The content types that every current browser displays."""

KNOWN = {kind.content_type: kind for kind, _ in _SIGNATURES} | {ANYTHING.content_type: ANYTHING}
"""Every type that PHOTO_TYPES may contain, by content type."""


def sniff(head: bytes) -> Kind:
    """Return the type of a file whose first `HEAD_BYTES` (or fewer) are `head`; `ANYTHING` if it is unknown."""
    return next((kind for kind, matches in _SIGNATURES if matches(head)), ANYTHING)


def accepted(content_types: Iterable[str]) -> frozenset[Kind]:
    """Return the types with these content types.

    Raises:
        ValueError: A content type is not in `KNOWN`.
    """
    try:
        return frozenset(KNOWN[content_type] for content_type in content_types)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is unknown; choose from {', '.join(KNOWN)}") from None


def _image_of_brands(head: bytes) -> Kind | None:
    """Return the type that the brands of a `ftyp` box declare.

    A compatible brand means that the file can be read according to that brand, whatever the major brand is (ISO/IEC
    14496-12 §4.3). So libavif, and with it Chromium, accepts `avif` in either place. If the brands name two codecs, the
    major brand decides.
    """
    if head[4:8] != b"ftyp":
        return None
    box = head[: int.from_bytes(head[:4], "big")]
    major, compatible = box[8:12], {box[at : at + 4] for at in range(16, len(box) - 3, 4)}
    if major == b"mif3":  # its minor version is a brand (ISO/IEC 23008-12, low-overhead image file format)
        compatible.add(box[12:16])
    named = [kind for kind, brands in _BRANDS if brands & {major}]
    if named and named != [_HEIF]:
        return named[0]
    return next((kind for kind, brands in _BRANDS if brands & {major, *compatible}), None)
