"""The kinds of photo, told by a file's own first bytes and never by what the client says of it.

The signatures are those of the WHATWG MIME Sniffing standard and, for the HEIF family, the `ftyp` box of
ISO/IEC 14496-12 with the brands of ISO/IEC 23008-12 and of the AV1 Image File Format.

Only raster images are shown inline from the bucket's origin. Whatever else a setting lets in is served as an
attachment of `application/octet-stream`, so that HTML and SVG can never run there.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

HEAD_BYTES = 256
"""How much of a file decides what it is: a `ftyp` box with some sixty brands is shorter."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is, and so how it is stored and served."""

    content_type: str
    extension: str
    inline: bool = True
    """Whether a browser may show it in place, rather than only save it."""


ANYTHING = Kind("application/octet-stream", "bin", inline=False)
"""The kind of a file that shows no other; accepted only where a setting says so."""

_AVIF = Kind("image/avif", "avif")
_HEIC = Kind("image/heic", "heic")
_HEIF = Kind("image/heif", "heif")
_BRANDS = (
    (_AVIF, frozenset({b"avif", b"avis"})),
    (_HEIC, frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})),
    (_HEIF, frozenset({b"mif1", b"msf1"})),
)


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


_SIGNATURES: tuple[tuple[Kind, Callable[[bytes], bool]], ...] = (
    (Kind("image/jpeg", "jpg"), _starts(b"\xff\xd8\xff")),
    (Kind("image/png", "png"), _starts(b"\x89PNG\r\n\x1a\n")),
    (Kind("image/gif", "gif"), _starts(b"GIF87a", b"GIF89a")),
    (Kind("image/webp", "webp"), lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    *((kind, lambda head, kind=kind: _image_of_brands(head) is kind) for kind, _ in _BRANDS),
    (Kind("image/tiff", "tif"), _starts(b"II*\0", b"MM\0*")),
    (Kind("image/bmp", "bmp"), _starts(b"BM")),
    (Kind("image/jxl", "jxl"), _starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
)

KNOWN = {kind.content_type: kind for kind, _ in _SIGNATURES} | {ANYTHING.content_type: ANYTHING}
"""Every kind that a setting may accept, by content type."""


def sniff(head: bytes) -> Kind:
    """The kind that a file of these first `HEAD_BYTES` (or fewer, if it is shorter) is; `ANYTHING` if it shows none."""
    return next((kind for kind, matches in _SIGNATURES if matches(head)), ANYTHING)


def accepted(content_types: Iterable[str]) -> frozenset[Kind]:
    """The kinds of these content types.

    Raises:
        ValueError: One of them is not among `KNOWN`.
    """
    try:
        return frozenset(KNOWN[content_type] for content_type in content_types)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not known; choose from {', '.join(KNOWN)}") from None


def _image_of_brands(head: bytes) -> Kind | None:
    if head[4:8] != b"ftyp":
        return None
    box = head[: int.from_bytes(head[:4], "big")]
    major, compatible = box[8:12], {box[at : at + 4] for at in range(16, len(box) - 3, 4)}
    # `mif1` says only "an image of the family": the compatible brands tell which.
    if not any(major in brands for _, brands in _BRANDS):
        return None
    if major in {b"mif1", b"msf1"}:
        return next(kind for kind, brands in _BRANDS if brands & (compatible | {major}))
    return next(kind for kind, brands in _BRANDS if major in brands)
