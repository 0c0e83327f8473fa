"""Colour profiles (ICC.1:2022)."""

from collections.abc import Iterable

from PIL import ImageCms

_CREATED = slice(24, 36)
"""When a profile was made."""


def _srgb() -> bytes:
    """Return a profile that is the same in every run."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_CREATED] = bytes(12)
    return bytes(profile)


SRGB = _srgb()


def tag(name: bytes, at: int, size: int) -> bytes:
    return name + at.to_bytes(4, "big") + size.to_bytes(4, "big")


def fixed(values: Iterable[float]) -> bytes:
    return b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in values)


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return a profile for a display (ICC.1:2022, sections 7 to 10)."""
    head = 128 + 4 + 12 * len(tags)
    table, data = b"", b""
    for name, value in tags.items():
        table += tag(name, head + len(data), len(value))
        data += value.ljust(-(-len(value) // 4) * 4, b"\0")
    header = b"".join(
        (
            (head + len(data)).to_bytes(4, "big"),
            bytes(4) + bytes.fromhex("02400000") + b"mntr" + space + b"XYZ ",
            bytes(12) + b"acsp" + bytes(28),
            fixed((0.9642, 1.0, 0.8249)),
        )
    )
    return header.ljust(128, b"\0") + len(tags).to_bytes(4, "big") + table + data


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big")


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + fixed(values)


WHITE = xyz(0.9642, 1.0, 0.8249)
P3 = profile(
    b"RGB ",
    {
        b"wtpt": WHITE,
        b"rXYZ": xyz(0.5151, 0.2412, -0.0011),
        b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
        b"bXYZ": xyz(0.1571, 0.0666, 0.7841),
        b"rTRC": curve(2.2),
        b"gTRC": curve(2.2),
        b"bTRC": curve(2.2),
    },
)
"""The primaries of Display P3, which Apple's cameras use."""
LINEAR_GREY = profile(b"GRAY", {b"wtpt": WHITE, b"kTRC": curve(1.0)})
