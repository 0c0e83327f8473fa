"""Draws photos of dishes: seen from above, on a plate on a table, lit from the left."""

import io
import math
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

_SIZE = (1200, 900)
_CENTRE = (600.0, 450.0)
Colour = tuple[int, int, int]


class Table:
    """A picture that is being drawn. Lengths are in pixels, angles in radians."""

    def __init__(self, wood: Colour, *, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.image = Image.new("RGB", _SIZE, wood)
        draw = ImageDraw.Draw(self.image)
        for y in range(0, _SIZE[1], 3):
            shade = self.chance.randint(-9, 9)
            draw.rectangle((0, y, _SIZE[0], y + 2), fill=_lighter(wood, shade))
        self.image = self.image.filter(ImageFilter.GaussianBlur(2))

    def disc(self, radius: float, colour: Colour, at: tuple[float, float] = _CENTRE, *, shadow: int = 0) -> None:
        """Draw a disc, lighter on the left, with a shadow of this depth."""
        lit = _box((at[0] - radius / 9, at[1] - radius / 9), radius * 0.8)
        self.shape(lambda draw, fill: draw.ellipse(_box(at, radius), fill=fill), colour, shadow=shadow)
        self.shape(lambda draw, fill: draw.ellipse(lit, fill=fill), _lighter(colour, 9), blur=radius / 6)

    def strip(self, points: Sequence[tuple[float, float]], width: int, colour: Colour, *, shadow: int = 0) -> None:
        """Draw a strip along these points."""
        self.shape(lambda draw, fill: draw.line(points, fill=fill, width=width, joint="curve"), colour, shadow=shadow)

    def leaf(self, at: tuple[float, float], length: float, angle: float, colour: Colour) -> None:
        """Draw a leaf with its vein."""
        tip = (math.cos(angle), math.sin(angle))
        side = (-tip[1], tip[0])
        outline = []
        for step in range(21):
            along, out = step / 20 * 2 - 1, math.sin(step / 20 * math.pi) * 0.34
            outline.append((along, out))
        outline += [(along, -out) for along, out in reversed(outline)]
        points = [
            (at[0] + length * (along * tip[0] + out * side[0]), at[1] + length * (along * tip[1] + out * side[1]))
            for along, out in outline
        ]
        self.shape(lambda draw, fill: draw.polygon(points, fill=fill), colour, shadow=5)
        self.strip([points[2], points[18]], 3, _lighter(colour, 35))

    def shape(
        self, drawn: Callable[[ImageDraw.ImageDraw, int], None], colour: Colour, *, shadow: int = 0, blur: float = 0
    ) -> None:
        mask = Image.new("L", _SIZE)
        drawn(ImageDraw.Draw(mask), 255)
        if shadow:
            below = ImageChops.offset(mask, shadow, shadow).filter(ImageFilter.GaussianBlur(shadow))
            self.image.paste((25, 18, 14), mask=below.point(lambda value: value // 2))
        self.image.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(blur or 1)))

    def plate(self, colour: Colour = (243, 240, 234)) -> None:
        self.disc(390, colour, shadow=26)
        self.disc(300, _lighter(colour, -10))
        self.disc(288, colour)

    def scattered(self, number: int, within: float) -> list[tuple[float, float]]:
        """Return this many places on the plate."""
        found = []
        for _ in range(number):
            distance, angle = within * math.sqrt(self.chance.random()), self.chance.random() * math.tau
            found.append((_CENTRE[0] + distance * math.cos(angle), _CENTRE[1] + distance * math.sin(angle)))
        return found

    def angle(self) -> float:
        return self.chance.random() * math.tau

    def photo(self, *, upright: bool = False) -> bytes:
        """Return the picture as a JPEG, darker towards the edges; `upright` for portrait format."""
        vignette = Image.radial_gradient("L").resize(_SIZE).point(lambda value: max(0, value - 90) // 2)
        self.image.paste((20, 12, 8), mask=vignette)
        file = io.BytesIO()
        shown = self.image.crop((262, 0, 938, 900)) if upright else self.image
        shown.save(file, "JPEG", quality=88)
        return file.getvalue()


def pancakes() -> bytes:
    table = Table((120, 84, 58), seed=1)
    table.plate()
    for lift in range(4):
        at = (_CENTRE[0] - 6 * lift, _CENTRE[1] - 9 * lift)
        table.disc(228 - 4 * lift, (178, 106, 44), at, shadow=9)
        table.disc(214 - 4 * lift, (222, 156, 78), at)
    table.disc(120, (146, 74, 22), (580, 430))
    for at in ((500.0, 520.0), (640.0, 350.0), (700.0, 480.0)):
        table.disc(46, (146, 74, 22), at)
    table.strip([(545, 395), (615, 455)], 92, (250, 220, 120), shadow=8)
    for at in table.scattered(9, 300):
        table.disc(24, (58, 66, 122), at, shadow=7)
    return table.photo()


def soup() -> bytes:
    table = Table((70, 82, 84), seed=2)
    table.disc(390, (232, 226, 214), shadow=26)
    table.disc(340, (196, 60, 28))
    swirl = [
        (600 + (40 + 17 * turn) * math.cos(turn), 450 + (40 + 17 * turn) * math.sin(turn))
        for turn in (step / 6 for step in range(80))
    ]
    table.strip(swirl, 13, (246, 222, 196))
    for at in table.scattered(40, 300):
        table.disc(5, (60, 42, 30), at)
    for turn in range(3):
        table.leaf((620 + 45 * math.cos(turn * 2.1), 430 + 45 * math.sin(turn * 2.1)), 70, turn * 2.1, (56, 112, 44))
    return table.photo()


def pizza() -> bytes:
    table = Table((168, 128, 86), seed=3)
    table.disc(380, (188, 124, 58), shadow=24)
    table.disc(336, (196, 62, 30))
    for at in table.scattered(26, 270):
        table.disc(table.chance.randint(34, 62), (248, 224, 168), at)
    for at in table.scattered(9, 270):
        table.disc(44, (172, 44, 34), at, shadow=6)
    for at in table.scattered(9, 250):
        table.leaf(at, 48, table.angle(), (52, 110, 40))
    for turn in range(4):
        reach = (400 * math.cos(turn * math.pi / 4), 400 * math.sin(turn * math.pi / 4))
        table.strip([(600 - reach[0], 450 - reach[1]), (600 + reach[0], 450 + reach[1])], 5, (116, 66, 28))
    return table.photo()


def shakshuka() -> bytes:
    table = Table((92, 70, 56), seed=4)
    table.strip([(940, 450), (1250, 450)], 76, (42, 42, 44), shadow=16)
    table.disc(390, (44, 44, 47), shadow=26)
    table.disc(350, (178, 52, 26))
    for at in table.scattered(30, 310):
        table.disc(table.chance.randint(14, 34), (212, 86, 38), at)
    for at in ((470.0, 340.0), (730.0, 370.0), (620.0, 590.0), (440.0, 540.0)):
        table.disc(96, (250, 246, 236), at, shadow=5)
        table.disc(42, (246, 174, 36), at)
    for at in table.scattered(26, 320):
        table.leaf(at, 22, table.angle(), (74, 138, 56))
    return table.photo()


def tart() -> bytes:
    table = Table((206, 200, 192), seed=5)
    table.plate((220, 228, 232))
    table.disc(262, (196, 142, 82), shadow=10)
    table.disc(232, (244, 224, 176))
    for ring, number in ((205, 24), (155, 18), (105, 12), (55, 6)):
        for step in range(number):
            at = (600 + ring * math.cos(step / number * math.tau), 450 + ring * math.sin(step / number * math.tau))
            table.disc(25, (66, 58, 124) if ring != 105 else (176, 34, 62), at, shadow=5)
    table.leaf((590, 440), 44, 0.8, (70, 140, 78))
    table.leaf((615, 452), 40, 2.4, (84, 156, 86))
    return table.photo()


def salad() -> bytes:
    table = Table((134, 98, 66), seed=6)
    table.disc(390, (86, 108, 122), shadow=26)
    table.disc(345, (108, 132, 146))
    for at in table.scattered(60, 290):
        table.leaf(at, 88, table.angle(), table.chance.choice([(86, 142, 52), (118, 168, 64), (60, 112, 44)]))
    for at in table.scattered(8, 260):
        table.disc(50, (170, 206, 136), at, shadow=6)
        table.disc(38, (208, 230, 180), at)
    for at in table.scattered(9, 270):
        table.disc(34, (206, 52, 40), at, shadow=6)
    for at in table.scattered(12, 270):
        table.strip([(at[0] - 14, at[1] - 14), (at[0] + 14, at[1] + 14)], 34, (248, 246, 238), shadow=5)
    return table.photo()


def ramen() -> bytes:
    table = Table((54, 48, 46), seed=7)
    table.disc(390, (30, 44, 66), shadow=26)
    table.disc(350, (198, 134, 62))
    for line in range(26):
        y = 330 + line * 13
        wave = [(360 + x * 12, y + 16 * math.sin(x / 3 + line / 4)) for x in range(36)]
        table.strip(wave, 9, (244, 214, 138), shadow=3)
    for at in ((500.0, 300.0), (640.0, 270.0)):
        table.disc(72, (250, 246, 236), at, shadow=8)
        table.disc(36, (240, 150, 34), at)
    table.strip([(790, 250), (850, 460)], 130, (30, 46, 36), shadow=8)
    for at in ((430.0, 560.0), (520.0, 610.0)):
        table.disc(66, (170, 102, 66), at, shadow=8)
        table.disc(42, (214, 160, 122), at)
    for at in table.scattered(36, 260):
        table.disc(11, (96, 166, 70), at, shadow=3)
    return table.photo(upright=True)


def cake() -> bytes:
    table = Table((222, 206, 190), seed=8)
    table.plate()
    table.disc(236, (214, 164, 88), shadow=14)
    table.disc(222, (252, 246, 232))
    for step in range(10):
        at = (600 + 170 * math.cos(step / 10 * math.tau), 450 + 170 * math.sin(step / 10 * math.tau))
        table.disc(44, (242, 200, 62), at, shadow=5)
        table.disc(35, (250, 226, 128), at)
    for at in table.scattered(30, 110):
        table.leaf(at, 9, table.angle(), (226, 178, 52))
    return table.photo()


DISHES = {
    "Blueberry tart": tart,
    "Tomato soup": soup,
    "Pizza, four slices too many": pizza,
    "Shakshuka": shakshuka,
    "Summer salad": salad,
    "Ramen with two eggs": ramen,
    "Lemon cake": cake,
    "Pancakes": pancakes,
}
"""Each by its label."""


def _box(at: tuple[float, float], radius: float) -> tuple[float, float, float, float]:
    return (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)


def _lighter(colour: Colour, by: int) -> Colour:
    red, green, blue = (max(0, min(255, part + by)) for part in colour)
    return red, green, blue
