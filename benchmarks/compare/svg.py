"""As much of SVG as bars and lines need. A picture has its own light background, for pages in dark mode."""

from dataclasses import dataclass, field
from html import escape

INK = "#1f2328"
FAINT = "#656d76"
GRID = "#d8dee4"
GROUND = "#ffffff"
_FONT = "-apple-system, BlinkMacSystemFont, Segoe UI, Noto Sans, Helvetica, Arial, sans-serif"


@dataclass(slots=True)
class Picture:
    """Shapes, in pixels from the upper left corner."""

    width: int
    height: int
    describes: str
    shapes: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 13,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" fill="{colour}"/>'
        )

    def line(self, points: list[tuple[float, float]], *, colour: str = GRID, width: float = 1) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, colour: str, *, radius: float = 4, hollow: bool = False) -> None:
        fill = GROUND if hollow else colour
        self.shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        )

    def written(self) -> str:
        """Return the file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
            f' height="{self.height}" role="img" font-family="{_FONT}">\n<title>{escape(self.describes)}</title>\n'
            f'<rect width="{self.width}" height="{self.height}" rx="8" fill="{GROUND}"/>\n'
            + "\n".join(self.shapes)
            + "\n</svg>\n"
        )
